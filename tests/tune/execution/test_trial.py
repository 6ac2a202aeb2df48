"""What the process of a trial does before its first one."""

from __future__ import annotations

import gc
import sys

from searches import STUB

from tune.execution.trial import _import_for_good


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
