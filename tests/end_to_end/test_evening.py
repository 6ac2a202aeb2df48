"""A new user's evening: clone, search, look, compare, promote, serve, play, each as the screen before it said.

Commands are run literally as a shell would run them; only the study is made small.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from browser import chromium
from places import ROOT
from searches import REAL
from served import answers, ask

OURS = ("RAY_", "MLFLOW_", "T5VQVAE_", "PYTEST_", "MAKE")
SMALL = {**REAL, "name": "evening", "scheduler.name": "none", "constraints": "[]", "budget.concurrent": 2}
SENTENCE = r"x + \sin{(y )}"
Environment = dict[str, str]


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[Path]:
    """A fresh clone whose `.venv` is this environment; its servers are ended afterwards."""
    if not (ROOT / ".git").exists() or shutil.which("make") is None:
        pytest.skip("needs a git checkout and make")
    folder = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    (folder / ".venv").symlink_to(sys.prefix)
    try:
        yield folder
    finally:
        shell("make stop", folder, environment_of(folder))


def environment_of(folder: Path) -> Environment:
    mine = {key: value for key, value in os.environ.items() if not key.startswith(OURS)}
    path = f"{folder / '.venv' / 'bin'}{os.pathsep}{mine['PATH']}"
    wide = {"COLUMNS": "300", "OMP_NUM_THREADS": "1", "INSTALLED": ""}
    return {**mine, **wide, "PATH": path, "PYTHONPATH": str(folder)}


def shell(command: str, folder: Path, environment: Environment) -> str:
    """Runs a command and returns what it prints on stdout."""
    print(f"$ {command}")
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    print(done.stdout, done.stderr)
    assert done.returncode == 0, f"{command}: {done.stderr[-2000:]}"
    return done.stdout


def told(text: str) -> list[str]:
    """Returns the commands that a screen says come next, without what is said about them."""
    found = re.findall(r"^(?:next:|     ) (t5vqvae .*?)(?:  #.*)?$", text, re.MULTILINE)
    assert found, f"the screen says nothing of what comes next: {text}"
    return found


@contextmanager
def running(command: str, folder: Path, environment: Environment) -> Iterator[str]:
    """Runs a command that serves until Ctrl-C; gives the address that it prints. Its port may be anybody's here."""
    words = [*shlex.split(command), "--port", "0"]
    with subprocess.Popen(words, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            print(f"$ {command}\n{line}")
            assert line.endswith("Ctrl-C ends it\n")
            yield re.findall(r"http://[\d.:]+", line)[0]
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(timeout=60)


def job_of(folder: Path, environment: Environment) -> dict[str, object]:
    """Returns the study's job as Ray's page shows it to who has the token."""
    token = Path(environment["RAY_AUTH_TOKEN_PATH"]).read_text().strip()
    reply = ask(f"{environment['RAY_API_SERVER_ADDRESS']}/api/jobs/", Authorization=f"Bearer {token}")[1]
    [job] = [each for each in reply if each["type"] == "SUBMISSION"]
    return dict(job)


@pytest.mark.slow
@pytest.mark.ray
def test_each_screen_says_what_comes_next_and_it_works(clone: Path) -> None:
    environment = environment_of(clone)
    settings = " ".join(f"{path}={value}" for path, value in SMALL.items())
    said = shell("make search", clone, {**environment, "SET": settings, "FLAGS": "--trials 3"})
    assert "evening: 3 of 3 trials done (3 completed), best: trial " in said
    report = Path(re.findall(r"^report: (.*)$", said, re.MULTILINE)[0])
    assert report.is_file() and report.is_relative_to(clone) and "How trials learned" in report.read_text()
    reach = re.findall(r"^Next: (eval .*), then (\S+) --help; (make stop) ends both servers$", said, re.MULTILINE)
    assert [words[1:] for words in reach] == [(".venv/bin/t5vqvae", "make stop")]
    exported = shell(f"{reach[0][0]}; env", clone, environment)
    environment |= dict(
        re.findall(r"^((?:MLFLOW|RAY_API|RAY_AUTH|T5VQVAE|no_proxy|NO_PROXY)\w*)=(.*)$", exported, re.MULTILINE)
    )
    job = job_of(clone, environment)
    page = f"{environment['MLFLOW_TRACKING_URI']}/#/experiments"
    assert job["metadata"] == {"study": "evening", "MLflow": page} and "search-evening-" in str(job["submission_id"])

    look, promote = told(said)
    best = int(re.findall(r"best: trial (\d)", said)[-1])
    trials = shell(look, clone, environment)
    assert re.search(rf"^ *{best} +completed +\d", trials, re.MULTILINE)
    assert f"evening: 3 trials; best: trial {best} with nll " in trials
    [compare] = told(trials)
    compared = shell(compare, clone, environment)
    assert f"A: trial {best} of study evening" in compared and re.search(
        r"^nll: A \S+, B \S+, difference", compared, re.M
    )
    assert told(compared) == [promote]

    promoted = shell(promote, clone, environment)
    assert "is version 1, alias champion" in promoted
    serve, play = told(promoted)
    with running(serve, clone, environment) as url:
        assert ask(f"{url}/health")[0] == 200
        [own] = answers(f"{url}/encode", {"texts": [SENTENCE]})
        assert len(own["tokens"]) == len(own["codes"]) > 3
    with running(play, clone, environment) as url, chromium(1000, 800) as page:
        page.goto(url)
        page.get_by_label("Sentence").first.fill(SENTENCE)
        page.get_by_role("button", name="Encode").click()
        page.wait_for_selector("#codes .decoded:not(:empty)")
        shown = [text.split()[-1] for text in page.locator("#codes .tokens button").all_inner_texts()]
        assert shown == [str(code) for [code] in own["codes"]], "the page shows the codes that the server gave"
    again = shell("make search", clone, {**environment, "SET": settings, "FLAGS": "--trials 3"})
    assert f"3 of 3 done, best trial {best}; --trials +N extends" in again
