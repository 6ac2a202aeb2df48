"""Takes the screenshots of `dashboards/screenshots/`: real servers, a real browser, and a search of some minutes.

    python -m tests.screenshots [--state DIR] [NAME ...]

It searches `tests/support/evening.yaml` in a state folder, which a second call uses again, and takes the screens while
it runs and after its end. NAME takes those alone; `mlflow` is three. It needs Debian's Chromium and is not part of the
tests.
"""

from __future__ import annotations

import argparse
import fcntl
import html
import io
import os
import pty
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from browser import chromium  # noqa: E402
from mlflow_screens import MLflowScreens  # noqa: E402

from tune.records.study import Study  # noqa: E402
from tune.records.study_paths import StudyPaths, is_there  # noqa: E402

FOLDER = ROOT / "dashboards" / "screenshots"
STUDY = "evening"
FILE = ROOT / "tests" / "support" / f"{STUDY}.yaml"
LARGEST = 150_000
"""The most bytes of a screenshot: the repository keeps them."""
DESKTOP, PHONE = (1000, 760), (390, 844)
CODES, CODES_PHONE, HISTORY = (1000, 713), (390, 804), (1000, 648)
"""Sizes at which a page ends with a whole row, or a whole card."""
SENTENCE, PLACE = "a big eagle took meat in autumn", 4
TERMINAL = """<body style="margin:0;background:#14181f"><pre style="display:inline-block;margin:0;padding:16px 20px;
color:#e4e8ee;font:14px/1.4 'DejaVu Sans Mono',monospace"><span style="color:#7aa5f5">$ {command}</span>
{code}</pre></body>"""


class Screens:
    """Takes screens of one study.

    Args:
        state: The state folder.
    """

    def __init__(self, state: Path) -> None:
        self.state = state

    def run(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        """Starts a command of t5vqvae on the state folder."""
        environment = {**os.environ, "T5VQVAE_STATE": str(self.state), **options.pop("env", {})}
        return subprocess.Popen(
            [sys.executable, "-m", "tune.cli", *words], cwd=ROOT, text=True, env=environment, **options
        )

    @contextmanager
    def page_of(self, *words: str) -> Iterator[str]:
        """Runs a command that serves a page; yields the address that its first line ends with."""
        with self.run(*words, stdout=subprocess.PIPE) as server:
            try:
                assert server.stdout is not None
                [address] = [word for word in server.stdout.readline().split() if word.startswith("http")]
                yield address.rstrip(";")
            finally:
                server.terminate()

    def terminal(self, name: str, *words: str, columns: int = 84) -> None:
        """Takes what a command prints on a terminal, in its colours."""
        from rich.console import Console
        from rich.text import Text

        shown, own = pty.openpty()
        fcntl.ioctl(own, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        environment = {"TERM": "xterm-256color", "COLUMNS": str(columns)}
        command = self.run(*words, stdout=own, stderr=subprocess.DEVNULL, env=environment)
        os.close(own)
        text = Text.from_ansi(_read(shown).replace("\r\n", "\n").rstrip())
        assert command.wait() == 0, text.plain
        console = Console(record=True, width=columns, file=io.StringIO(), force_terminal=True)
        console.print(text)
        typed = html.escape(f"t5vqvae {' '.join(words)}")
        code = console.export_html(inline_styles=True, code_format="{code}").rstrip()
        with chromium(1200, 900) as page:
            page.set_content(TERMINAL.format(command=typed, code=code))
            save(name, page.locator("pre"))

    def page(self, name: str, url: str, size: tuple[int, int], ready: Callable[[Any], None]) -> None:
        """Takes a page once `ready` has returned."""
        with chromium(*size) as page:
            page.goto(url)
            ready(page)
            assert page.evaluate("document.documentElement.scrollWidth") <= size[0], f"{name} scrolls sideways"
            save(name, page)


def _read(shown: int) -> str:
    """Returns all that is written to a terminal until its program ends."""
    found = b""
    while True:
        try:
            part = os.read(shown, 65536)
        except OSError:  # the other side is closed
            break
        if not part:
            break
        found += part
    os.close(shown)
    return found.decode()


def save(name: str, what: Any) -> None:
    """Saves a screen as PNG, or as JPEG where that would be too large."""
    for kind, options in (("png", {}), ("jpeg", {"quality": 85}), ("jpeg", {"quality": 60})):
        content = what.screenshot(type=kind, **options)
        if len(content) <= LARGEST:
            break
    assert len(content) <= LARGEST, f"{name} has {len(content)} bytes"
    for old in FOLDER.glob(f"{name}.*"):
        old.unlink()
    (FOLDER / f"{name}.{kind}").write_bytes(content)
    print(f"{name}.{kind}: {len(content)} bytes", flush=True)


def plotted(page: Any) -> None:
    page.wait_for_function("[...document.querySelectorAll('.plot')].every(one => one.querySelector('.main-svg'))")
    page.wait_for_timeout(500)


def drawn(page: Any) -> None:
    """Waits for Optuna's plots, and takes a logarithm of losses."""
    page.get_by_label("Log y scale").click()
    page.wait_for_timeout(8_000)


def swapped(page: Any) -> None:
    """Puts another code into the sentence, and waits for what it becomes."""
    page.get_by_label("Sentence").first.fill(SENTENCE)
    page.get_by_role("button", name="Encode").click()
    page.wait_for_selector("#codes .decoded:not(:empty)")
    page.locator("#codes .tokens button").nth(PLACE).click()
    page.wait_for_selector("#codes .nearest tbody tr")
    before = page.inner_text("#codes .decoded")
    page.locator("#codes .nearest tbody tr", has=page.locator("mark")).first.get_by_role("button").click()
    page.wait_for_function("was => document.querySelector('#codes .decoded').textContent !== was", arg=before)
    page.wait_for_function("document.querySelector('#status').textContent === ''")
    page.evaluate("document.activeElement.blur(); window.scrollTo(0, 0)")


def while_it_runs(screens: Screens) -> dict[str, Callable[[], None]]:
    def watch() -> None:
        with screens.page_of("watch", STUDY) as url:
            screens.page("watch", url, (1000, 810), lambda page: page.wait_for_timeout(45_000))

    return {"watch": watch}


def at_its_end(screens: Screens) -> dict[str, Callable[[], None]]:
    study = Study.load(STUDY, screens.state)
    best, *_, other = [number for number in study.ranked if study.records[number].checkpoint]
    report = StudyPaths(screens.state, STUDY).root / "report" / "report.html"

    def playground(name: str, size: tuple[int, int]) -> None:
        with screens.page_of("playground", STUDY, "--port", "0") as url:
            screens.page(name, url, size, swapped)

    def optuna() -> None:
        with screens.page_of("dashboard", STUDY) as url:
            screens.page("optuna", url, HISTORY, drawn)

    def probe() -> None:
        folder = screens.state / "probe"
        assert screens.run("probe", STUDY, "--into", str(folder)).wait() == 0
        screens.page("probe", (folder / "probe.html").as_uri(), DESKTOP, mapped)

    def mlflow() -> None:
        screens_of = MLflowScreens(study, screens.state, save)
        assert screens_of.is_registered or screens.run("promote", STUDY).wait() == 0
        screens_of.take()

    compared = ("compare", f"{STUDY}/{best}", f"{STUDY}/{other}", "--most", "3")
    return {
        "trials": lambda: screens.terminal("trials", "trials", STUDY, "--best", "8", columns=132),
        "compare": lambda: screens.terminal("compare", *compared, columns=118),
        "report": lambda: screens.page("report", report.as_uri(), (860, 1220), plotted),
        "report-phone": lambda: screens.page("report-phone", report.as_uri(), PHONE, plotted),
        "playground": lambda: playground("playground", CODES),
        "playground-phone": lambda: playground("playground-phone", CODES_PHONE),
        "mlflow": mlflow,
        "optuna": optuna,
        "probe": probe,
    }


def mapped(page: Any) -> None:
    plotted(page)
    page.evaluate("document.querySelector('.plot').closest('section').scrollIntoView()")


def searched(screens: Screens, wanted: dict[str, Callable[[], None]]) -> None:
    """Searches the study unless it is finished; calls what is wanted of a running one after its sixth trial."""
    paths = StudyPaths(screens.state, STUDY)
    if is_there(paths.spec) and Study.load(STUDY, screens.state).progress().state == "finished":
        return
    search = None if paths.is_locked() else screens.run("search", str(FILE))  # another process may search already
    while wanted and len(paths.ended) < 6 and (search is None or search.poll() is None):
        time.sleep(1)
    for take in wanted.values():
        take()
    while paths.is_locked():
        time.sleep(1)
    assert search is None or search.wait() == 0, "the search failed"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--state", type=Path, default=None, help="state folder; default: a temporary one")
    parser.add_argument("names", nargs="*", metavar="NAME", help="screens to take; default: all")
    given = parser.parse_args()
    with ExitStack() as stack:
        state = given.state or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        screens = Screens(state.resolve())

        def chosen(takes: dict[str, Callable[[], None]]) -> dict[str, Callable[[], None]]:
            return {name: take for name, take in takes.items() if not given.names or name in given.names}

        searched(screens, chosen(while_it_runs(screens)))
        for take in chosen(at_its_end(screens)).values():
            take()


if __name__ == "__main__":
    main()
