from __future__ import annotations

import gc

import pytest

from tune.process import THRESHOLDS, collected_seldom


def test_a_process_looks_for_garbage_as_before_once_the_search_has_ended():
    before = gc.get_threshold()
    with pytest.raises(KeyboardInterrupt), collected_seldom():
        assert gc.get_threshold() == THRESHOLDS != before
        raise KeyboardInterrupt
    assert gc.get_threshold() == before
