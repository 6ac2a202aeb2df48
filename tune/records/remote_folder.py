"""A folder at an address of fsspec: `s3://bucket/folder`, `gs://bucket/folder`, or a folder that machines share.

What its driver refuses is one line that names the setting, the address and the way out.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from t5vqvae.errors import EnvironmentFault, SettingError, UserError
from t5vqvae.files import atomic_write
from t5vqvae.redaction import redacted


class RemoteFolder:
    """Reads and writes files below an address.

    Args:
        address: The address; `~` and relative folders are resolved by the caller.
        said: The setting or option that names it, for errors.
    """

    def __init__(self, address: str, said: str) -> None:
        self.address = address.rstrip("/") or "/"
        self.said = f"{said}={redacted(self.address)}"

    def put(self, files: Mapping[str, Path]) -> None:
        """Writes local files, in order; each is there whole or not at all.

        Args:
            files: The local file of each name below the address.

        Raises:
            FileNotFoundError: If a local file is gone.
            EnvironmentFault: If the address refuses.
        """
        for name, file in files.items():
            if not file.is_file():
                raise FileNotFoundError(file)
            with self._one_line("cannot be written", "mend it, and the next start copies again"):
                if self._is_local:
                    with atomic_write(Path(self._at(name))) as scratch:
                        shutil.copyfile(file, scratch)
                else:
                    self._system.put_file(str(file), self._at(name))

    def get(self, files: Mapping[str, Path]) -> None:
        """Reads files into local ones, many at once.

        Args:
            files: The local file of each name below the address.

        Raises:
            EnvironmentFault: If the address refuses.
        """
        for folder in {file.parent for file in files.values()}:
            folder.mkdir(parents=True, exist_ok=True)
        with self._one_line("cannot be read", "see that this machine may read it"):
            self._system.get([self._at(name) for name in files], [str(file) for file in files.values()])

    def read(self, name: str) -> bytes | None:
        """Returns the content of a file; None where there is none.

        Raises:
            EnvironmentFault: If the address refuses.
        """
        with self._one_line("cannot be read", "see that this machine may read it"):
            self._system.invalidate_cache()
            found: bytes = self._system.cat_file(self._at(name)) if self._system.isfile(self._at(name)) else b""
            return found or None

    def remove(self, names: Iterable[str]) -> None:
        """Deletes files; those that are gone already do not count.

        Raises:
            EnvironmentFault: If the address refuses.
        """
        with self._one_line("cannot be written", "mend it, and the next start copies again"):
            self._system.invalidate_cache()
            for name in names:
                if self._system.exists(self._at(name)):
                    self._system.rm_file(self._at(name))

    def names(self, below: str = "") -> list[str]:
        """Returns the names of all files below a folder, sorted.

        Raises:
            EnvironmentFault: If the address refuses.
        """
        with self._one_line("cannot be read", "see that this machine may read it"):
            self._system.invalidate_cache()
            return sorted(path.removeprefix(f"{self._root}/") for path in self._system.find(self._at(below)))

    def folders(self) -> list[str]:
        """Returns the names of the folders directly below the address.

        Raises:
            EnvironmentFault: If the address refuses.
        """
        with self._one_line("cannot be read", "see that this machine may read it"):
            self._system.invalidate_cache()
            if not self._system.exists(self._root):
                return []
            entries = self._system.ls(self._root, detail=True)
            return sorted(entry["name"].rpartition("/")[2] for entry in entries if entry["type"] == "directory")

    def _at(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    @property
    def _system(self) -> Any:
        return self._opened[0]

    @property
    def _root(self) -> str:
        return self._opened[1]

    @property
    def _is_local(self) -> bool:
        from fsspec.implementations.local import LocalFileSystem

        return isinstance(self._system, LocalFileSystem)

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        from fsspec.core import url_to_fs

        try:
            system, root = url_to_fs(self.address)
        except ImportError as error:
            raise SettingError(f"{self.said}: {_first_line(error)} with pip, or give another address") from None
        except ValueError as error:
            reason = _first_line(error)
            raise SettingError(f"{self.said}: {reason}; give a folder, s3://BUCKET/..., or gs://BUCKET/...") from None
        return system, root.rstrip("/")

    @contextmanager
    def _one_line(self, what: str, way_out: str) -> Iterator[None]:
        """Turns an error of the driver into one line; every driver has its own errors."""
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            raise EnvironmentFault(f"{self.said} {what}: {_first_line(error)}; {way_out}") from error


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0].rstrip(".")
