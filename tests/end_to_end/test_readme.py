"""The README's commands, run verbatim in a fresh clone, in order.

A block under `<!-- runnable: NAME=value ... expect="text" -->` is run with these variables set (smaller budgets; they
are printed with it) and must print the text. The clone borrows this environment instead of installing one.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer
from places import ROOT

BLOCK = re.compile(r"<!-- runnable:?(?P<settings>.*?)-->\n```bash\n(?P<script>.*?)```", re.DOTALL)
OURS = ("RAY_", "MLFLOW_", "T5VQVAE_", "PYTEST_", "MAKE")


@dataclass(frozen=True)
class Block:
    """One runnable block: its commands, the variables it is run with, and a text that it must print."""

    script: str
    variables: dict[str, str]
    expect: str


def blocks(text: str) -> list[Block]:
    """Returns the runnable blocks of a Markdown text."""
    found = []
    for match in BLOCK.finditer(text):
        settings = dict(word.split("=", 1) for word in shlex.split(match["settings"]))
        found.append(Block(match["script"], settings, settings.pop("expect", "")))
    return found


README = blocks((ROOT / "README.md").read_text())


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory):
    """A fresh clone whose `.venv` is this environment; its servers are ended afterwards."""
    if not (ROOT / ".git").exists() or shutil.which("make") is None:
        pytest.skip("needs a git checkout and make")
    folder = tmp_path_factory.mktemp("readme") / "t5vqvae"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    (folder / ".venv").symlink_to(sys.prefix)
    try:
        yield folder
    finally:
        execute(Block("make stop\n", {}, ""), folder)


def execute(block: Block, folder: Path, seconds: float = 900) -> subprocess.CompletedProcess[str]:
    """Runs a block as a user's shell would."""
    mine = {key: value for key, value in os.environ.items() if not key.startswith(OURS)}
    env = {**mine, "PYTHONPATH": str(folder), "INSTALLED": "", **block.variables}
    print(f"$ {' '.join(f'{key}={shlex.quote(value)}' for key, value in block.variables.items())}\n{block.script}")
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", block.script],
        cwd=folder, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds,
    )  # fmt: skip
    print(done.stdout)
    return done


@pytest.mark.readme
@pytest.mark.ray
@pytest.mark.parametrize(
    "block", README, ids=[f"{i}-{block.script.splitlines()[-1][:40]}" for i, block in enumerate(README)]
)
def test_runnable_blocks_run_in_a_fresh_clone(clone: Path, block: Block) -> None:
    done = execute(block, clone)
    assert done.returncode == 0
    assert block.expect in done.stdout


def test_the_two_commands_and_the_promotion_are_runnable_or_the_tests_themselves() -> None:
    text = (ROOT / "README.md").read_text()
    scripts = "".join(block.script for block in README)
    assert README[0].script == "make search\n"
    assert {"promote", "load_model", "job submit"} <= set(re.findall(r"promote|load_model|job submit", scripts))
    assert "`make test`" in text


def test_a_block_carries_its_variables_and_its_expectation() -> None:
    text = '<!-- runnable: A=1 B="x y" expect="done" -->\n```bash\nmake it\n```\n\n```bash\nnot this\n```\n'
    assert blocks(text) == [Block("make it\n", {"A": "1", "B": "x y"}, "done")]


def test_every_link_into_the_project_leads_somewhere() -> None:
    for name in ("README.md", "CONTRIBUTING.md", "tests/benchmarks/results/README.md"):
        links = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / name).read_text())
        assert [link for link in links if not ((ROOT / name).parent / link).exists()] == []


def test_every_make_target_and_command_that_the_documents_name_exists() -> None:
    from tune.cli import app

    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = (ROOT / "README.md").read_text() + (ROOT / "CONTRIBUTING.md").read_text()
    assert set(re.findall(r"(?:`|^|\()make ([a-z-]+)", text, re.MULTILINE)) <= targets
    commands = set(typer.main.get_command(app).commands)
    assert set(re.findall(r"(?:`|bin/)t5vqvae ([a-z]+)", text)) <= commands
