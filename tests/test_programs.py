"""Without a program that a test needs, CI fails, and others skip with the reason."""

from __future__ import annotations

import pytest
from programs import program


def test_ci_fails_where_others_skip(monkeypatch):
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no-such-program"):
        program("no-such-program", "nowhere")
    monkeypatch.delenv("CI")
    with pytest.raises(pytest.skip.Exception, match="no-such-program"):
        program("no-such-program", "nowhere")
    assert program("sh", "any system").endswith("/sh")
