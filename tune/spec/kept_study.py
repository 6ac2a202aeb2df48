"""The file `study.json` of a search: its spec, the settings that its base resolved to, and what its runs read.

The spec holds what was said; the rest are defaults, which another version may change. A study that is resumed keeps
the settings it was started with, and one whose data or backbone changed meanwhile is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from t5vqvae.config import flatten
from t5vqvae.errors import SettingError
from t5vqvae.files import read_twice, write_twice
from t5vqvae.redaction import redacted_values
from t5vqvae.spec.run import RunSpec
from tune.spec.study_file import KEPT
from tune.spec.study_spec import WAY_OUT, StudySpec

_, RESOLVED, SOURCES, EVIDENCE = KEPT
SAID = {"data_fingerprint": "its data", "backbone_fingerprint": "its backbone's files"}
"""Sources in words."""


@dataclass(frozen=True)
class KeptStudy:
    """What `study.json` holds next to the spec; files of older versions hold none of it.

    Attributes:
        resolved: `{"": settings of the base, "quantizer.name=vq": settings of a searched variant, ...}`, flat.
        sources: Hashes of what the runs read; see `t5vqvae.runs.fingerprint`.
        evidence: Numbers of trials that Optuna holds of other studies.
    """

    resolved: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    evidence: tuple[int, ...] = ()

    @classmethod
    def read(cls, path: Path) -> KeptStudy:
        """Reads the file; returns nothing kept where there is none.

        Raises:
            DamagedFileError: If the file is damaged.
        """
        try:
            values = read_twice(path, WAY_OUT)
        except FileNotFoundError:
            return cls()
        return cls(values.get(RESOLVED, {}), values.get(SOURCES, {}), tuple(values.get(EVIDENCE, ())))

    def write(self, path: Path, spec: StudySpec) -> None:
        """Writes the spec and this, whole or not at all."""
        kept = {RESOLVED: self.resolved, SOURCES: self.sources, EVIDENCE: list(self.evidence)}
        write_twice(path, {**redacted_values(spec.as_dict()), **kept}, indent=1)

    def with_sources(self, study: str, sources: Mapping[str, str]) -> KeptStudy:
        """Returns this with the sources of the present start; refuses a study whose data or backbone changed.

        Raises:
            SettingError: With the first that changed.
        """
        for name, known in self.sources.items():
            if sources.get(name, known) != known:
                what = SAID.get(name, name)
                raise SettingError(
                    f"study {study} was started with another content of {what}, so its trials cannot be compared;"
                    " bring the old content back, or give the study another name (name=...)"
                )
        return replace(self, sources={**self.sources, **sources})


def without_kept(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values of `study.json` that are fields of the spec."""
    return {key: value for key, value in values.items() if key not in KEPT}


def resolved_settings(base: RunSpec, variants: Mapping[str, tuple[Any, ...]]) -> dict[str, dict[str, Any]]:
    """Returns the settings that decide results: of the base, and of each variant that is searched.

    Args:
        base: The base's run spec.
        variants: The searched names of variants, by path, as `{"quantizer.name": ("ema", "vq")}`.
    """
    found = {"": _deciding(base)}
    for path, names in variants.items():
        for name in names:
            try:
                settings = _deciding(base.with_overrides({path: name}))
            except SettingError:  # it needs another setting, which the space varies
                continue
            section = path.removesuffix("name")
            found[f"{path}={name}"] = {key: value for key, value in settings.items() if key.startswith(section)}
    return found


def has_evidence(file: Path) -> bool:
    """Returns whether a study that was started, by its file, has trials of another one."""
    return file.is_file() and bool(KeptStudy.read(file).evidence)


def changed_defaults(
    started: Mapping[str, Mapping[str, Any]], now: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[str, str, Any, Any]]:
    """Yields the variant, the setting, its old and its new value for each setting that differs."""
    for variant, settings in started.items():
        for path, old in settings.items():
            new = now.get(variant, {}).get(path, old)
            if new != old:
                yield variant, path, old, new


def _deciding(spec: RunSpec) -> dict[str, Any]:
    return redacted_values(flatten(spec.as_dict(only_results=True)))
