"""The Makefile takes every value as written: neither make nor a shell runs anything in it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from places import ROOT

SHOW = "#!/bin/sh\nexec python3 -c 'import json, sys; print(json.dumps(sys.argv[1:]))' \"$@\"\n"
MARK = "made"
HOSTILE = [
    f"x; touch {MARK}",
    f"$(touch {MARK})",
    f"$(shell touch {MARK})",
    f"$$(touch {MARK})",
    f"`touch {MARK}`",
    f"x' ; touch {MARK} #",
    f'x" ; touch {MARK} #',
    f"x\ntouch {MARK}",
    f"x' \ntouch {MARK} #",
    f"x && touch {MARK}",
    f"x | touch {MARK}",
    f"> {MARK}",
    "a b, c (d) \\ #e %f",
]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the Makefile, whose Python shows its arguments."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(SHOW)
    python.chmod(0o755)
    return tmp_path


def make(project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    installed = [] if any(word.startswith("INSTALLED=") for word in words) else ["INSTALLED="]
    # `make test` hands its own flags and its level on to the tests, and so to this make.
    outside = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    command = ["make", *words, *installed]
    return subprocess.run(command, cwd=project, env=outside, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("name", ["STUDY", "SET", "FLAGS"])
@pytest.mark.parametrize("value", HOSTILE)
def test_a_value_reaches_the_search_as_written(project: Path, name: str, value: str) -> None:
    done = make(project, "search", "VENV=venv", f"{name}={value}")
    assert done.returncode == 0, done.stderr
    given = {"STUDY": "", "SET": "", "FLAGS": "", name: value.replace("\n", " ")}
    assert json.loads(done.stdout) == [
        "-m", "cluster.local", "search",
        f"--study={given['STUDY']}", f"--words={given['SET']}", f"--words={given['FLAGS']}",
    ]  # fmt: skip
    assert not (project / MARK).exists()


@pytest.mark.parametrize("name", ["FLAGS", "PYTHON", "VENV", "INSTALLED"])
@pytest.mark.parametrize("value", HOSTILE)
def test_no_target_runs_a_value(project: Path, name: str, value: str) -> None:
    make(project, "test", *([] if name == "VENV" else ["VENV=venv"]), f"{name}={value}")
    assert not (project / MARK).exists()


def test_words_of_flags_are_split_as_a_shell_does(project: Path) -> None:
    beside, alone = make(project, "test", "VENV=venv", 'FLAGS=-k "a or b" -x').stdout.splitlines()
    for line, last in ((beside, "--part=beside"), (alone, "-n0")):
        [code, text, *words] = json.loads(line)[1:]
        assert "[*first, *shlex.split(flags), last]" in code
        assert (text, words[0]) == ('-k "a or b" -x', last)


def test_flags_choose_the_marks_but_not_how_tests_with_ray_run(project: Path) -> None:
    shown = (
        "import json, sys, types;"
        " sys.modules['pytest'] = types.SimpleNamespace(main=lambda words: print(json.dumps(words)))"
    )
    python = project / "venv" / "bin" / "python"
    python.write_text(f'#!/bin/sh\nshift\ncode=$1\nshift\nexec python3 -c "{shown}; $code" "$@"\n')
    done = make(project, "test", "VENV=venv", "FLAGS=-m readme -n 4")
    beside, alone = map(json.loads, done.stdout.splitlines())
    assert beside[-1] == "--part=beside" and alone[-1] == "-n0", done.stderr
    assert beside.index("readme") > beside.index("not slow") and alone.index("readme") > alone.index("not slow")


@pytest.mark.parametrize(
    ("beside", "alone", "status"),
    [(0, 0, 0), (0, 5, 0), (5, 0, 0), (5, 5, 5), (1, 0, 1), (0, 1, 1), (5, 1, 1), (1, 5, 1), (2, 0, 2)],
)
def test_a_failure_of_either_part_fails(project: Path, beside: int, alone: int, status: int) -> None:
    (project / "venv" / "bin" / "python").write_text(
        f'#!/bin/sh\necho "$OMP_NUM_THREADS" "$@"\ncase "$*" in *beside*) exit {beside};; *) exit {alone};; esac\n'
    )
    done = make(project, "test", "VENV=venv")
    assert (done.returncode != 0, f"Error {status}" in done.stderr) == (status != 0, status != 0)
    first, *others = done.stdout.splitlines()
    assert first.startswith("1 ") and "--part=beside" in first and first.endswith("-m not slow")
    assert ["-n0 --part=alone" in other for other in others] == [True] * (beside != 2)


def test_a_path_that_make_would_misread_is_refused(project: Path) -> None:
    done = make(project, "start", "VENV=my venv")
    assert "VENV and INSTALLED take a path without spaces" in done.stderr
