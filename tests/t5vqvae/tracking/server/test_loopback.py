"""A request to this machine reaches it, whatever proxy is set."""

from __future__ import annotations

import pytest
import requests.utils

from t5vqvae.tracking.server.loopback import reaching_loopback, spare_loopback


@pytest.mark.parametrize("address", ["http://127.0.0.1:5000", "http://localhost:5000", "http://[::1]:5000"])
@pytest.mark.parametrize(
    "before", [{}, {"no_proxy": "intern.example"}, {"NO_PROXY": "intern.example"}, {"NO_PROXY": "*"}]
)
def test_loopback_is_never_sent_through_a_proxy(
    address: str, before: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "")  # restored after the test
        monkeypatch.delenv(name)
    for name, value in {**before, "http_proxy": "http://p:1", "all_proxy": "http://p:1"}.items():
        monkeypatch.setenv(name, value)
    assert before == {"NO_PROXY": "*"} or requests.utils.get_environ_proxies(address) != {}
    spare_loopback()
    spare_loopback()
    assert requests.utils.get_environ_proxies(address) == {}
    assert requests.utils.get_environ_proxies("http://intern.example") == {} or not before
    if before != {"NO_PROXY": "*"}:
        assert requests.utils.get_environ_proxies("http://elsewhere.example") != {}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, "localhost,127.0.0.1,127.0.0.0/8,::1"),
        ({"NO_PROXY": "intern.example, 127.0.0.1"}, "intern.example,127.0.0.1,localhost,127.0.0.0/8,::1"),
        ({"NO_PROXY": "*"}, "*"),
    ],
)
def test_no_proxy_keeps_what_the_user_said(before: dict[str, str], after: str) -> None:
    found = reaching_loopback({**before, "PATH": "/bin"})
    assert found == {"no_proxy": after, "NO_PROXY": after, "PATH": "/bin"}
