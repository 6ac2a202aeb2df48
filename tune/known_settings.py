"""Refuses misspelt settings of a command line before torch is imported, from an index that earlier commands wrote.

python -m tune.known_settings     write the index now; `make install` runs it
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t5vqvae.config import flatten
from t5vqvae.config.describe import settings
from t5vqvae.config.setting_index import Index, index_file, read_index, unknown_settings, write_index
from t5vqvae.errors import SettingError
from tune.spec.study_file import split_words

RUN, SEARCH, ABLATION = "RunSpec", "SearchSpec", "AblationSpec"
HOMES = {RUN: "t5vqvae.spec.run", SEARCH: "tune.spec.search_spec", ABLATION: "tune.ablation.ablation_spec"}
"""The module of each spec."""
_CODE_ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class _KnownSettings:
    """The settings of the specs that the index lists; a spec that it lacks refuses nothing."""

    index: Index

    def refuse_unknown(self, overrides: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        """Refuses overrides of a run that no variant of it knows.

        Args:
            overrides: Of the command line.
            values: Of the file below them, flat.

        Raises:
            SettingError: One line a setting.
        """
        _raise(unknown_settings(self.index.get(RUN, ()), overrides, values))

    def refuse_unknown_words(self, spec: str, study: Mapping[str, Any], words: list[str]) -> None:
        """Refuses words that set neither the study nor its base run.

        Args:
            spec: `SEARCH` or `ABLATION`.
            study: The plain values of the study file.
            words: Of the command line.

        Raises:
            SettingError: One line a setting; also if a word is no override.
        """
        if RUN not in self.index or spec not in self.index:
            return
        fields = {name: dict.fromkeys(one.path.split(".")[0] for one in self.index[name]) for name in (spec, RUN)}
        parts = split_words(words, fields[spec], fields[RUN])
        errors = unknown_settings(self.index[RUN], parts.base, flatten(study.get("base") or {}))
        _raise([*errors, *unknown_settings(self.index[spec], parts.study, flatten(study))])


@contextmanager
def known_settings() -> Iterator[_KnownSettings]:
    """Yields the index; at the end of the block, adds the specs to it that the block has imported."""
    file = index_file([_CODE_ROOT / "t5vqvae", _CODE_ROOT / "tune"])
    index = {} if file is None else read_index(file)
    try:
        yield _KnownSettings(index)
    finally:
        specs = {name: getattr(sys.modules.get(home), name, None) for name, home in HOMES.items() if name not in index}
        found = {name: list(settings(spec)) for name, spec in specs.items() if spec is not None}
        if file is not None and found:
            write_index(file, {**index, **found})


def _raise(errors: list[str]) -> None:
    if errors:
        raise SettingError("\n".join(errors))


if __name__ == "__main__":
    from importlib import import_module

    with known_settings():
        for home in HOMES.values():
            import_module(home)
