"""The resolved spec of a study's trial, and the command that trains it again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from t5vqvae.errors import DamagedFileError, SettingError
from tune.records.study import Study

if TYPE_CHECKING:
    from t5vqvae.spec.run import RunSpec


def spec_of_trial(study: Study, number: int) -> RunSpec:
    """Returns the spec by which an ended trial was trained.

    Raises:
        SettingError: If there is no such trial, or it has not ended.
        DamagedFileError: If the study's file is damaged.
    """
    if number not in study.records:
        study.trial(number)
        raise SettingError(f"trial {number} of {study.name} has not ended yet; wait for it, or stop the study")
    overrides = study.records[number].overrides
    if study.kind == "search":
        from tune.spec.search_spec import SearchSpec

        return SearchSpec.read(study.paths.spec).run_spec(overrides)
    from tune.ablation.history import AblationHistory

    history = AblationHistory.read(study.paths)
    if history is None:
        raise DamagedFileError(f"{study.paths.ablation} is gone; restore it from a copy")
    return history.base.with_overrides(overrides)


def command_of_trial(study: Study, number: int) -> str:
    """Returns the command that trains an ended trial again on one machine, without the passwords in its URLs."""
    spec = spec_of_trial(study, number)
    from t5vqvae.redaction import redacted
    from t5vqvae.runs.rerun import rerun_command

    return redacted(rerun_command(spec))
