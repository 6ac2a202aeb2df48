"""The corpus `hub`: a data set of the Hugging Face hub, by name or in a local folder.

The package `datasets` finds and loads it. The files of a local folder, and CSV files, are read by `rows.py`, so that
their texts are those of every other reader.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Literal

from t5vqvae.config import LocalOrHub, setting
from t5vqvae.data.corpora.base import CorpusConfig
from t5vqvae.data.corpora.columns import to_examples
from t5vqvae.data.corpora.corpus import Corpus
from t5vqvae.data.corpora.rows import READERS, Row, import_datasets, kind_of, read_rows, rows_of
from t5vqvae.data.corpora.text import Part, assemble
from t5vqvae.errors import DataError
from t5vqvae.files import stamp


class HubCorpus(CorpusConfig):
    """A data set of the hub. Without a `revision`, the first download of the main branch is cached and used again."""

    name: Literal["hub"] = "hub"
    dataset: LocalOrHub = setting(description="as on the hub (owner/name), or a local folder")
    subset: str | None = setting(None, description="the data set's configuration, if it has several")
    revision: str | None = setting(None, description="branch, tag or commit on the hub")
    source_column: str = "text"
    target_column: str | None = setting(None, description="None: reconstruct the source")
    train_split: str = "train"
    validation_split: str | None = setting("validation", description="None: cut from the training split")
    test_split: str | None = setting("test", description="None: cut from the training split")
    validation_fraction: float = setting(
        0.1, gt=0, lt=1, description="share of the sentences for validation, without validation_split"
    )
    test_fraction: float = setting(0.1, ge=0, lt=1, description="share of the sentences for test, without test_split")
    drop_shared: bool = setting(False, description="drop from every split the sentences that a later split also has")
    seed: int = setting(0, ge=0, description="seed of the cut into splits")

    def load(self, cache_dir: Path) -> Corpus:
        datasets = import_datasets(f"data.corpus.dataset={self.dataset!r}")
        try:
            tables = self._tables(datasets, cache_dir / "datasets")
        except DataError:
            raise
        except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
            cause = error.__cause__ or error
            reason = str(cause).splitlines()[0] if str(cause) else type(cause).__name__
            raise DataError(
                f"data.corpus.dataset={self.dataset!r} cannot be loaded: {reason}; check name and network"
            ) from error
        fractions = (self.validation_fraction, self.test_fraction)
        return assemble(self._parts(tables), fractions, self.seed, drop=self.drop_shared, source=self.dataset)

    def _parts(self, tables: Mapping[str, Iterable[Row]]) -> dict[str, Part]:
        names = {"train": self.train_split, "validation": self.validation_split, "test": self.test_split}
        parts = {}
        for split, name in names.items():
            if name is not None and name not in tables:
                raise DataError(
                    f"data.corpus.{split}_split={name!r} is no split of {self.dataset}; it has {', '.join(tables)}"
                    + ("; name one" if split == "train" else "; name one, or null to cut it from the training split")
                )
            if name is not None:
                examples = to_examples(tables[name], self.source_column, self.target_column)
                parts[split] = Part(*examples, name=f"the split {name} of {self.dataset}")
        return parts

    def stamp(self, cache_dir: Path) -> object:
        folder = Path(self.dataset).expanduser()
        return stamp(folder) if folder.exists() else None

    def _tables(self, datasets: ModuleType, folder: Path) -> Mapping[str, Iterable[Row]]:
        """Returns the rows of every split; `datasets` says which files belong to it."""
        where = {"revision": self.revision, "cache_dir": str(folder)}
        found = datasets.load_dataset_builder(self.dataset, self.subset, **where).config.data_files or {}
        urls = {str(split): [str(url) for url in files] for split, files in found.items()}
        kinds = {Path(url).suffix.removeprefix(".").lower() for files in urls.values() for url in files}
        # The package reads a CSV's "null" as missing and its "007" as 7, and keeps a changed local file's old rows.
        is_ours = kinds <= set(READERS) if Path(self.dataset).expanduser().is_dir() else kinds <= {"csv", "tsv"}
        if urls and is_ours:
            paths = datasets.DownloadManager().download(urls)
            return {split: self._rows(urls[split], paths[split]) for split in urls}
        loaded = datasets.load_dataset(self.dataset, self.subset, **where)
        return {str(split): rows_of(loaded[split], f"the split {split} of {self.dataset}") for split in loaded}

    @staticmethod
    def _rows(urls: list[str], paths: list[str]) -> Iterator[Row]:
        """Yields the rows of files; a downloaded file has the format that its address names."""
        for url, path in zip(urls, paths, strict=True):
            yield from read_rows(Path(path), kind_of(Path(url)))
