"""The resolved spec of a study's trial."""

from __future__ import annotations

from typing import TYPE_CHECKING

from t5vqvae.errors import DamagedFileError
from tune.records.study import Study

if TYPE_CHECKING:
    from t5vqvae.spec.run import RunSpec


def spec_of_trial(study: Study, number: int) -> RunSpec:
    """Returns the spec by which an ended trial was trained.

    Raises:
        DamagedFileError: If the study's file is damaged.
    """
    overrides = study.records[number].overrides
    if study.kind == "search":
        from tune.spec.search_spec import SearchSpec

        return SearchSpec.read(study.paths.spec).run_spec(overrides)
    from tune.ablation.history import AblationHistory

    history = AblationHistory.read(study.paths)
    if history is None:
        raise DamagedFileError(f"{study.paths.ablation} is gone; restore it from a copy")
    return history.base.with_overrides(overrides)
