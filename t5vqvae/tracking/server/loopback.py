"""Keeps requests to this machine away from proxies."""

from __future__ import annotations

import os

LOOPBACK = ("localhost", "127.0.0.1", "127.0.0.0/8", "::1")


def spare_loopback() -> None:
    """Adds this machine's own addresses to NO_PROXY, for this process and those that it starts."""
    # Both spellings: `requests` and curl prefer the lower one, and reading stops at the first that is set.
    for name in ("no_proxy", "NO_PROXY"):
        there = [host.strip() for host in (os.environ.get(name) or _other(name)).split(",") if host.strip()]
        if "*" not in there:
            os.environ[name] = ",".join([*there, *(host for host in LOOPBACK if host not in there)])


def _other(name: str) -> str:
    return os.environ.get(name.swapcase(), "")
