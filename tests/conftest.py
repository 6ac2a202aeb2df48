"""What all tests share: subprocesses and Ray's workers import the tests' pieces as this process does."""

from __future__ import annotations

import os

import pytest
from places import ROOT, SUPPORT

# Ray passes the script's folder and the current one to its workers, not the rest of `sys.path`.
_KNOWN = os.environ.get("PYTHONPATH", "").split(os.pathsep)
os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys([str(ROOT), str(SUPPORT), *filter(None, _KNOWN)]))


def pytest_addoption(parser: pytest.Parser) -> None:
    words = "tests that start no Ray and may run side by side, or the others; both without it"
    parser.addoption("--part", choices=["beside", "alone"], help=words)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    part = config.getoption("--part")
    if part is None:
        return
    other = [item for item in items if (item.get_closest_marker("ray") is not None) != (part == "alone")]
    config.hook.pytest_deselected(items=other)
    items[:] = [item for item in items if item not in set(other)]
