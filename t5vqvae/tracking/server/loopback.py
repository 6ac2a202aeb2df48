"""Keeps requests to this machine away from proxies."""

from __future__ import annotations

import os
from collections.abc import Mapping

LOOPBACK = ("localhost", "127.0.0.1", "127.0.0.0/8", "::1")
_NAMES = ("no_proxy", "NO_PROXY")
"""Both spellings: `requests` and curl prefer the lower one, and reading stops at the first that is set."""


def reaching_loopback(environment: Mapping[str, str]) -> dict[str, str]:
    """Returns an environment in which no proxy stands between this machine and itself."""
    return {**environment, **{name: _hosts(environment, name) for name in _NAMES}}


def spare_loopback() -> None:
    """Adds this machine's own addresses to NO_PROXY, for this process and those that it starts."""
    os.environ.update({name: _hosts(os.environ, name) for name in _NAMES})


def _hosts(environment: Mapping[str, str], name: str) -> str:
    """Returns the hosts that no proxy is for: those of a variable, or of its other spelling, and this machine."""
    known = environment.get(name) or environment.get(name.swapcase()) or ""
    hosts = [host.strip() for host in known.split(",") if host.strip()]
    # A lone "*" means all hosts; next to others it means nothing to `requests`.
    return ",".join(hosts if "*" in hosts else dict.fromkeys([*hosts, *LOOPBACK]))
