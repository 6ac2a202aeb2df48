"""A real search, seen by Prometheus and by the page `watch` at once: every query has data, and all say the same."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from survival import as_words, kill_family, start, wait_for

from cluster.service import pick_port
from tests.dashboards import ALERTS, RULES, config
from tune.monitor.panels import PANELS, Panel
from tune.monitor.watch_page import WatchedStudy
from tune.records.study import Study

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("prometheus") is None and not os.environ.get("CI"), reason="needs prometheus (Debian)"
    ),
]
STUDY = "night"
HALVING = {"name": "asha", "grace_steps": 10, "reduction_factor": 2}
SEARCH = [panel for panel in PANELS if panel.board == "search" and "gpu" not in panel.metric]
Ask = Callable[[str], list[dict[str, Any]]]


@pytest.fixture
def ask(tmp_path: Path) -> Iterator[Ask]:
    """A Prometheus that scrapes the drivers of the state folder every second."""
    values = config()
    values["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    targets = {"files": [str(tmp_path / "prometheus/targets/*.json")], "refresh_interval": "1s"}
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

    try:
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


def test_prometheus_the_page_and_the_records_say_the_same(tmp_path: Path, ask: Ask) -> None:
    driver = start(tmp_path, STUDY, "40", as_words({"scheduler": HALVING}))
    try:
        wait_for(lambda: list(tmp_path.glob("prometheus/targets/*.json")), driver, "a target")
        watched, missing = WatchedStudy(STUDY, tmp_path), {panel.title: panel for panel in SEARCH}

        def has_all() -> bool:
            for title, panel in list(missing.items()):
                if of_prometheus(ask, panel) and (panel.more is None or ask(panel.more[0])):
                    del missing[title]
            return not missing

        wait_for(lambda: has_all() or driver.poll() is not None, None, "data for every panel", seconds=90)
        assert not missing, f"no data for {list(missing)}"
        compared = [panel for panel in SEARCH if panel.metric in of_records(tmp_path)]
        assert len(compared) == 2

        def agree() -> bool:
            kept = of_records(tmp_path)
            return all(
                kept[panel.metric] == of_page(watched, panel) == of_prometheus(ask, panel) and kept[panel.metric]
                for panel in compared
            )

        wait_for(agree, None, "agreement of records, page and Prometheus", seconds=60)
        assert all(ask(rule["record"]) for rule in RULES["groups"][0]["rules"])
        for alert in ALERTS:
            assert ask(alert[1]) == [], f"{alert[0]} fires"
    finally:
        kill_family(driver.pid)
