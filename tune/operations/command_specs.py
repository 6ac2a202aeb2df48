"""What a command line asks for: the run, the search or the ablation that its words name and change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t5vqvae.config import flatten, parse_words, read_yaml
from t5vqvae.errors import SettingError
from tune.known_settings import ABLATION, SEARCH, known_settings
from tune.records.study_paths import StudyPaths, is_there, state_dir
from tune.spec.study_file import ABLATIONS, STUDIES, read_study, studies_in

if TYPE_CHECKING:
    from t5vqvae.spec.run import RunSpec
    from tune.ablation.ablation_spec import AblationSpec
    from tune.spec.search_spec import SearchSpec

QUICKSTART = "quickstart"
"""The study of a search that names none."""


def run_spec(words: list[str] | None) -> RunSpec:
    """Returns the defaults, changed by a YAML file if the first word is one, then by the other words."""
    file, words = _file_and_words(words)
    values = {} if file is None else _run_settings(file)
    overrides = parse_words(words)
    with known_settings() as known:
        with _naming(file):
            known.refuse_unknown(values, values)
        known.refuse_unknown({**values, **overrides}, values)
        from t5vqvae.spec.run import RunSpec

        with _naming(file):
            spec = RunSpec().with_overrides(values)
        spec = spec.with_overrides(overrides)
    if spec.train.device == "cuda":
        from t5vqvae.training.device import refuse_missing_device

        refuse_missing_device(spec)
    return spec


@contextmanager
def _naming(file: str | None) -> Iterator[None]:
    """Adds the file to errors about the settings that stand in it."""
    try:
        yield
    except SettingError as error:
        raise SettingError("\n".join(f"{file}: {line}" for line in str(error).splitlines())) from None


def _file_and_words(words: list[str] | None) -> tuple[str | None, list[str]]:
    """Returns the file or study that stands first on a command line, or None, and the words after it."""
    first, *rest = words or [""]
    is_file = first.endswith((".yaml", ".yml")) and "/" in first
    with suppress(OSError):  # longer than a file name may be
        is_file = is_file or Path(first).expanduser().is_file()
    if not first or ("=" in first and not is_file):
        return None, list(words or [])
    return first, rest


def _run_settings(name: str) -> dict[str, Any]:
    """Returns the flat settings of a run's YAML file."""
    file = Path(name).expanduser()
    if name in studies_in(STUDIES) or name in studies_in(ABLATIONS):
        raise SettingError(f"{name} is a study, not the settings of a run; {_command_of(name)} runs it")
    if not file.is_file():
        what = "is a folder" if file.is_dir() else "is no file"
        raise SettingError(f"{name} {what}; give a YAML file of settings or dotted.path=value words")
    values = read_yaml(file, "the settings of a run")
    if "base" in values or "space" in values:
        command = "ablate" if {"arms", "design", "seeds"} & set(values) else "search"
        raise SettingError(f"{name} is a study, not the settings of a run; t5vqvae {command} {name} runs it")
    return flatten(values)


def _command_of(study: str) -> str:
    return f"t5vqvae {'search' if study in studies_in(STUDIES) else 'ablate'} {study}"


def search_spec(words: list[str], trials: str | None, state: Path | None) -> SearchSpec:
    """Returns the search that a command line names; `trials` extends its budget."""
    named, words = _file_and_words(words)
    study = QUICKSTART if named is None else named
    _refuse_other_kind(study, STUDIES, ABLATIONS)
    with known_settings() as known:
        known.refuse_unknown_words(SEARCH, read_study(study, STUDIES), words)
        from tune.spec.search_spec import SearchSpec

        spec = SearchSpec.load(study, words)
    if trials is None:
        return spec
    paths = StudyPaths(state_dir(state), spec.name)
    earlier = SearchSpec.read(paths.spec).budget if is_there(paths.spec) else spec.budget
    number = earlier.extended(trials, len(paths.ended))
    return SearchSpec.parse({**spec.as_dict(), "budget": {**spec.budget.as_dict(), "trials": number}})


def _refuse_other_kind(study: str, kind: Path, other: Path) -> None:
    """Refuses the name of a shipped study of the other kind."""
    if study in studies_in(other) and study not in studies_in(kind) and not Path(study).is_file():
        raise SettingError(
            f"{study} is {'an ablation' if other == ABLATIONS else 'a search'}; {_command_of(study)} runs it"
        )


def ablation_spec(study: str, words: list[str]) -> AblationSpec:
    """Returns the ablation that a command line names."""
    _refuse_other_kind(study, ABLATIONS, STUDIES)
    with known_settings() as known:
        known.refuse_unknown_words(ABLATION, read_study(study, ABLATIONS), words)
        from tune.ablation.ablation_spec import AblationSpec

        return AblationSpec.load(study, words)
