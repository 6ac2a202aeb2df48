"""What the process of a trial does before its first one."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

from searches import STUB, stub_study

from tune.execution.trial import PLAN, TrialPlan, _import_for_good, _ProcessTrial
from tune.records.study_paths import StudyPaths


def test_a_trainer_is_imported_once_and_for_good():
    sys.modules.pop("stub", None)
    before = gc.get_freeze_count()
    try:
        _import_for_good(STUB)
        assert "stub" in sys.modules
        assert gc.get_freeze_count() > before, "later collections go through all that imports left"
        assert gc.isenabled()
    finally:
        gc.unfreeze()


def test_a_trainer_that_is_not_there_is_told_by_the_trial_and_not_by_its_process():
    try:
        _import_for_good("no.such:trainer")
        assert gc.isenabled()
    finally:
        gc.unfreeze()


def test_refused_settings_are_the_failure_of_their_trial_and_not_a_death_of_its_process(tmp_path: Path):
    plan = TrialPlan("s", stub_study("s", 1).base_spec, StudyPaths(tmp_path, "s"), trainer=STUB)
    trial = object.__new__(_ProcessTrial)
    trial._begin({PLAN: plan, "number": 3, "overrides": {"train.quantize_from": 40}})
    result = trial.step()
    assert result["done"] and result["status"] == "failed"
    assert "train.quantize_from=40 must be less than" in plan.paths.trial(3).joinpath("error.txt").read_text()
