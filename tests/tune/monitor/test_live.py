"""A real search, seen by Prometheus and by `watch` in a browser: every query has data, and all say the same."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from browser import chromium
from survival import as_words, kill_family, start, wait_for

from cluster.service import pick_port
from tests.dashboards import ALERTS, RULES, config
from tune.monitor.panels import PANELS, Panel
from tune.monitor.watch_page import WatchedStudy
from tune.records.record import ENDED
from tune.records.study import Study
from tune.records.study_paths import StudyPaths

pytestmark = [pytest.mark.ray, pytest.mark.slow]
STUDY, TRIALS = "night", 400
HALVING = {"name": "asha", "grace_steps": 10, "reduction_factor": 2}
SEARCH = [panel for panel in PANELS if panel.board == "search" and "gpu" not in panel.metric]
Ask = Callable[[str], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The state folder of a search that runs as long as the tests: a trial ends every second or two."""
    folder = tmp_path_factory.mktemp("live")
    settings = {"scheduler": HALVING, "base": {"optim.warmup_steps": 70}}
    driver = start(folder, STUDY, str(TRIALS), as_words(settings))
    try:
        wait_for(lambda: list(folder.glob("prometheus/targets/*.json")), driver, "a target")
        wait_for(lambda: StudyPaths(folder, STUDY).ended, driver, "an ended trial")
        yield folder
        assert driver.poll() is None, "the search ended before the tests"
    finally:
        kill_family(driver.pid)


@pytest.fixture
def ask(state: Path, tmp_path: Path) -> Iterator[Ask]:
    """A Prometheus that scrapes the drivers of the state folder every second."""
    if shutil.which("prometheus") is None and not os.environ.get("CI"):
        pytest.skip("needs prometheus (Debian)")
    values = config()
    values["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    targets = {"files": [str(state / "prometheus/targets/*.json")], "refresh_interval": "1s"}
    values["scrape_configs"] = [values["scrape_configs"][0] | {"file_sd_configs": [targets]}]
    values["rule_files"] = [str(Path("dashboards/prometheus/rules.yml").resolve())]
    own = tmp_path / "own.yml"
    own.write_text(yaml.safe_dump(values))
    address = f"127.0.0.1:{pick_port(None)}"
    command = ["prometheus", f"--config.file={own}", f"--storage.tsdb.path={tmp_path / 'data'}"]
    with (tmp_path / "prometheus.log").open("w") as log:
        server = subprocess.Popen([*command, f"--web.listen-address={address}"], stdout=log, stderr=log)

    def asked(query: str) -> list[dict[str, Any]]:
        words = urllib.parse.urlencode({"query": query.replace("$study", STUDY).replace("$__range", "1h")})
        with urllib.request.urlopen(f"http://{address}/api/v1/query?{words}", timeout=10) as reply:
            return list(json.load(reply)["data"]["result"])

    def ready() -> bool:
        with suppress(OSError), urllib.request.urlopen(f"http://{address}/-/ready", timeout=10):
            return True
        return False

    try:
        wait_for(ready, server, "an answer of Prometheus", seconds=60)
        yield asked
    finally:
        server.terminate()
        server.wait(timeout=20)


def of_prometheus(ask: Ask, panel: Panel) -> dict[str, float]:
    return {" ".join(row["metric"][label] for label in panel.by): float(row["value"][1]) for row in ask(panel.expr)}


def of_page(watched: WatchedStudy, panel: Panel) -> dict[str, float]:
    found = next((each for each in watched.panels() if each["metric"] == panel.metric), {"series": []})
    return {each["label"]: each["value"] for each in found["series"]}


def of_records(state: Path) -> dict[str, dict[str, float]]:
    study = Study.load(STUDY, state)
    best = study.records[study.best].metrics if study.best is not None else {}
    return {
        "t5vqvae_best_objective": {name: best[name] for name in study.objectives if name in best},
        "t5vqvae_trials_counting": {"": float(len(study.ranked))},
    }


def test_prometheus_the_page_and_the_records_say_the_same(state: Path, ask: Ask) -> None:
    watched, missing = WatchedStudy(STUDY, state), {panel.title: panel for panel in SEARCH}

    def has_all() -> bool:
        for title, panel in list(missing.items()):
            if of_prometheus(ask, panel) and (panel.more is None or ask(panel.more[0])):
                del missing[title]
        return not missing

    wait_for(has_all, None, "data for every panel", seconds=90)
    compared = [panel for panel in SEARCH if panel.metric in of_records(state)]
    assert len(compared) == 2

    def agree() -> bool:
        kept = of_records(state)
        return all(
            kept[panel.metric] == of_page(watched, panel) == of_prometheus(ask, panel) and kept[panel.metric]
            for panel in compared
        )

    wait_for(agree, None, "agreement of records, page and Prometheus", seconds=60)
    wait_for(lambda: all(ask(rule["record"]) for rule in RULES["groups"][0]["rules"]), None, "all rules", seconds=30)
    for alert in ALERTS:  # but the one that draws a line of hours through the seconds that this disk was seen
        assert alert[0] == "DiskFullSoon" or ask(alert[1]) == [], f"{alert[0]} fires"


SHOWN = """() => [...document.querySelectorAll("b[data-metric]")].map(
    one => [one.dataset.metric, one.dataset.label, Number(one.dataset.value), one.textContent])"""
"""Reads the numbers of the page: metric, labels, value, and the text that stands there."""


@contextmanager
def watching(state: Path) -> Iterator[str]:
    """Runs `t5vqvae watch`; gives the address that it prints."""
    command = [sys.executable, "-m", "tune.cli", "watch", STUDY, "--state", str(state)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().split()[-1]
        finally:
            server.terminate()


def ended_numbers(state: Path) -> dict[str, dict[str, float]]:
    """What the records alone say of the trials that have ended."""
    study = Study.load(STUDY, state)
    counts = Counter(record.status for record in study.records.values())
    seconds = sum(record.seconds for record in study.records.values())
    return {
        **of_records(state),
        "t5vqvae_trials": {status: float(counts[status]) for status in ENDED},
        "t5vqvae_trial_seconds_total": {"": seconds},
    }


def shown_numbers(page: Any) -> dict[str, dict[str, float]]:
    """What a browser shows; each text must be its number, rounded."""
    found: dict[str, dict[str, float]] = {}
    for metric, label, value, text in page.evaluate(SHOWN):
        if metric in ("t5vqvae_best_objective", "t5vqvae_trials", "t5vqvae_trials_counting"):
            assert float(text) == pytest.approx(value, rel=1e-3)
        found.setdefault(metric, {})[label] = value
    return found


def test_a_browser_sees_the_numbers_move_and_equal_the_records(state: Path) -> None:
    with watching(state) as url, chromium(1100, 800) as page:
        page.goto(url)
        page.wait_for_selector("b[data-metric=t5vqvae_best_objective]")

        def same(kept: dict[str, dict[str, float]]) -> bool:
            shown = shown_numbers(page)
            return all(
                shown.get(metric, {}).get(label) == pytest.approx(value)
                for metric, values in kept.items()
                for label, value in values.items()
            )

        wait_for(lambda: same(ended_numbers(state)), None, "a page that equals the records", seconds=60)
        first = ended_numbers(state)

        def moved() -> bool:
            kept = ended_numbers(state)
            return kept != first and same(kept)

        wait_for(moved, None, "a page that equals later records", seconds=60)
        steps: dict[str, set[float]] = {}

        def trains() -> bool:
            for trial, step in shown_numbers(page).get("t5vqvae_trial_step", {}).items():
                steps.setdefault(trial, set()).add(step)
            return any(len(seen) > 1 for seen in steps.values())

        wait_for(trains, None, "a running trial whose step moves", seconds=60)
        number = sum(shown_numbers(page)["t5vqvae_trials"][status] for status in ENDED)
        said = page.inner_text("#state")
        assert said.startswith(f"running: {number:.0f} of {TRIALS} trials done, about ") and said.endswith(" left")
        page.set_viewport_size({"width": 390, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") == 390, "the page scrolls sideways"
