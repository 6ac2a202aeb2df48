"""The token of the embedded head: a file for its owner alone, kept between starts, and variables that name it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from cluster import ray_token
from cluster.ray_token import token_environment, token_exports, token_facts, token_path
from cluster.service import ServiceError


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (ray_token.MODE, ray_token.PATH, ray_token.TOKEN):
        monkeypatch.delenv(name, raising=False)


def test_a_token_is_made_for_its_owner_alone_and_kept(tmp_path: Path) -> None:
    facts = token_facts(tmp_path)
    path = token_path(tmp_path)
    assert facts == {"auth": "token", "token": str(path)}
    assert path.stat().st_mode & 0o777 == 0o600
    token = path.read_text()
    assert len(token) == 64 and set(token) <= set("0123456789abcdef"), "256 bits"
    path.chmod(0o644)
    assert token_facts(tmp_path) == facts
    assert path.read_text() == token
    assert path.stat().st_mode & 0o777 == 0o600, "closed again"
    assert token_path(tmp_path / "other") != path and token_facts(tmp_path / "other") != facts


def test_an_empty_file_becomes_a_token(tmp_path: Path) -> None:
    token_path(tmp_path).parent.mkdir()
    token_path(tmp_path).write_text("\n")
    token_facts(tmp_path)
    assert len(token_path(tmp_path).read_text()) == 64


def test_a_file_that_is_no_token_is_refused_in_one_line(tmp_path: Path) -> None:
    token_path(tmp_path).mkdir(parents=True)
    with pytest.raises(ServiceError, match="Is a directory; delete it to get a new token, or set RAY_AUTH_MODE=disa"):
        token_facts(tmp_path)
    token_path(tmp_path).rmdir()
    token_path(tmp_path).write_bytes(b"\xff\xfe")
    with pytest.raises(ServiceError, match=r"run/ray\.token: it holds no text; delete it") as caught:
        token_facts(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("mode", "has_token"), [("disabled", False), ("token", True), ("TOKEN", True), ("", True)])
def test_a_mode_that_the_user_set_counts(
    mode: str, has_token: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ray_token.MODE, mode)
    facts = token_facts(tmp_path)
    assert token_path(tmp_path).exists() == has_token
    assert token_environment(facts)[ray_token.MODE] == ("token" if has_token else "disabled")


def shell_after(lines: list[str], **outside: str) -> dict[str, str]:
    """Returns the variables of a shell that has run the lines."""
    done = subprocess.run(
        ["sh", "-c", "\n".join([*lines, "env -0"])], env={"PATH": os.environ["PATH"], **outside}, capture_output=True
    )
    return dict(word.split("=", 1) for word in done.stdout.decode().split("\0") if word)


def test_a_shell_gets_the_file_and_loses_a_token_that_would_go_before_it(tmp_path: Path) -> None:
    facts = token_facts(tmp_path / "it's a $(folder)")
    for outside in ({}, {ray_token.TOKEN: "another"}):
        found = shell_after(token_exports(facts, outside), **outside)
        assert found[ray_token.MODE] == "token" and found[ray_token.PATH] == facts["token"]
        assert ray_token.TOKEN not in found
    assert token_environment(facts)[ray_token.TOKEN] == "", "Ray takes an empty one for none"


def test_heads_without_a_token_are_reached_as_they_are() -> None:
    assert token_exports({"auth": "disabled"}, {}) == ["export RAY_AUTH_MODE=disabled"]
    assert token_exports({"url": "http://127.0.0.1:8265"}, {}) == [], "one that an older version started"
