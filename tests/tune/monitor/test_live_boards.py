"""The boards of ablations, serving and the cluster, live: every query has data, and numbers are those of the records.

One Prometheus scrapes the driver of a real ablation, the Ray that it started, and a real `t5vqvae serve`, all found by
the target files of one state folder.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from places import ROOT
from prometheus_client.parser import text_string_to_metric_families
from promotions import save_checkpoint
from scraping import Prometheus, prometheus
from served import ask, counts
from survival import kill_family, start, wait_for

from tests.dashboards import ALERTS, RULES
from tune.monitor.panels import PANELS, Panel
from tune.records.events import StudyEvents
from tune.records.record import TrialRecord, read_records
from tune.records.running import ALIVE
from tune.records.study_paths import StudyPaths

pytestmark = [pytest.mark.ray, pytest.mark.slow]
STUDY, TEXTS = "parts", ["x + y", "x - 2"]
VARIABLES = {"study": STUDY, "__range": "1h", "__rate_interval": "5m"}
STEP = "step-00000002"


def panels(board: str) -> list[Panel]:
    """The panels of a board but those of GPUs, which this machine may lack."""
    return [
        panel for panel in PANELS if panel.board == board and "gpu" not in panel.metric and "gram" not in panel.metric
    ]


def queries(panel: Panel) -> list[str]:
    return [panel.expr, *([panel.more[0]] if panel.more else [])]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Prometheus, Path]]:
    """A Prometheus, and the state folder whose targets it scrapes."""
    state = tmp_path_factory.mktemp("boards")
    save_checkpoint(state, "model")
    targets = [str(state / "prometheus/targets/*.json")]
    with prometheus(state / "server", targets, VARIABLES) as server:
        yield server, state


@pytest.fixture(scope="module")
def ablation(seen: tuple[Prometheus, Path]) -> Iterator[subprocess.Popen]:
    """The driver of an ablation that takes longer than the tests look."""
    _, state = seen
    driver = start(state, STUDY, "100", module="ablations")
    try:
        wait_for(lambda: StudyPaths(state, STUDY).ended, driver, "ended run", seconds=400)
        yield driver
    finally:
        kill_family(driver.pid)


@pytest.fixture(scope="module")
def server(seen: tuple[Prometheus, Path]) -> Iterator[str]:
    """The address of `t5vqvae serve`."""
    _, state = seen
    words = ["serve", str(state / "model" / STEP), "--port", "0", "--state", str(state)]
    known = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-m", "tune.cli", *words], cwd=state, env=known, text=True, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        try:
            found = re.search(r"http://[\d.]+:\d+", process.stdout.readline())
            assert found
            yield found[0]
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
    assert not list((state / "prometheus/targets").glob("serve*")), "a server that ended is scraped no more"


def all_have_data(server: Prometheus, wanted: list[Panel], often: Callable[[], object] = lambda: None) -> None:
    """Waits until each query of each panel has data; `often` is called meanwhile."""
    missing = {query: panel.title for panel in wanted for query in queries(panel)}

    def filled() -> bool:
        often()
        for query in [query for query in missing if has_number(server, query)]:
            del missing[query]
        return not missing

    deadline = time.monotonic() + 180
    while not filled():
        assert time.monotonic() < deadline, f"no data for {missing}"
        time.sleep(0.5)


def has_number(server: Prometheus, query: str) -> bool:
    return any(row["value"][1] != "NaN" for row in server.ask(query))


def soon(agrees: Callable[[], bool], what: str) -> None:
    """Waits until a number that was scraped is the one that holds now."""
    wait_for(agrees, None, what, seconds=90)


def records_in(state: Path) -> list[TrialRecord]:
    return read_records(StudyPaths(state, STUDY).trials)


def of_records(state: Path) -> dict[str, dict[str, float]]:
    """What the records say of an ablation, by metric; `runs.jsonl` has the arm, phase and seed of each."""
    root, records = StudyPaths(state, STUDY).root, records_in(state)
    lines = [json.loads(line) for line in (root / "runs.jsonl").read_text().splitlines()]
    keys = {line["number"]: tuple(line["key"].split("/")[:3]) for line in lines}
    runs = Counter(" ".join(keys[record.number][:2]) for record in records)
    completed = {keys[record.number] for record in records if record.status == "completed"}
    seeds = Counter(arm for arm, phase, _ in completed if phase == "comparison")
    return {
        "t5vqvae_arm_runs": {name: float(number) for name, number in runs.items()},
        "t5vqvae_arm_seeds": {name: float(number) for name, number in seeds.items()},
        "t5vqvae_attempt": {"": float(StudyEvents(root).num_starts)},
        "t5vqvae_trial_seconds_total": {"": sum(record.seconds for record in records)},
    }


def test_every_query_of_the_ablation_board_has_data_and_runs_and_seeds_are_those_of_the_records(seen, ablation):
    server, state = seen
    all_have_data(server, panels("ablation"))
    compared = dict.fromkeys(panels("ablation"), "")
    for panel in compared:
        if panel.metric in of_records(state):
            soon(lambda: close(server.numbers(panel.expr, panel.by), of_records(state)[panel.metric]), panel.title)  # noqa: B023
        elif panel.metric == "t5vqvae_trials":
            soon(lambda: statuses(server) == Counter(each.status for each in records_in(state)), "statuses")
        else:
            [driver] = targets(state, "t5vqvae")
            soon(lambda: as_its_page(server, panel, driver), panel.title)  # noqa: B023
    assert all(server.ask(rule["record"]) for rule in RULES["groups"][0]["rules"])
    for name, expression, *_ in ALERTS:
        assert server.ask(expression) == [], f"{name} fires"


def as_its_page(server: Prometheus, panel: Panel, target: str) -> bool:
    """Whether a panel's numbers lie between those of the page that is scraped, before the scrape and after it."""
    before = on_page(target, panel)
    time.sleep(2.2)  # two scrapes
    found, after = server.numbers(panel.expr, panel.by), on_page(target, panel)
    ends = {name: sorted((before.get(name, value), value)) for name, value in after.items()}
    return found.keys() == after.keys() and all(ends[name][0] <= found[name] <= ends[name][1] for name in found)


def on_page(target: str, panel: Panel) -> dict[str, float]:
    """The samples of a panel's metric on the page of what is scraped, by the labels that tell series apart."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    page = direct.open(f"http://{target}/metrics", timeout=20).read().decode()
    named = {"instance": target}
    return {
        " ".join({**sample.labels, **named}[label] for label in panel.by): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == panel.metric
    }


def targets(state: Path, job: str) -> list[str]:
    """What the driver's file says is to be scraped."""
    groups = json.loads((state / f"prometheus/targets/{STUDY}.json").read_text())
    return [each for group in groups if group["labels"]["job"] == job for each in group["targets"]]


def close(found: dict[str, float], kept: dict[str, float]) -> bool:
    return found == pytest.approx(kept, rel=1e-6)


def statuses(server: Prometheus) -> dict[str, float]:
    [panel] = [panel for panel in panels("ablation") if panel.metric == "t5vqvae_trials"]
    return {name: value for name, value in server.numbers(panel.expr, panel.by).items() if value and name not in ALIVE}


def test_every_query_of_the_serving_board_has_data_and_the_numbers_of_the_server_s_own_page(seen, server):
    scraped, _ = seen

    def asked() -> None:
        assert ask(f"{server}/reconstruct", {"texts": TEXTS})[0] == 200

    asked()
    all_have_data(scraped, panels("serving"), asked)
    own = counts(server)
    [info] = [name for name in own if name.startswith("t5vqvae_serve_model_info")]
    for panel in panels("serving"):
        if panel.metric in ("t5vqvae_serve_queue_length", "t5vqvae_serve_model_info"):
            [value] = scraped.numbers(panel.expr, panel.by).values()
            assert value == own[panel.metric if panel.metric in own else info], panel.title
    total = 't5vqvae_serve_requests_total{route="/reconstruct",status="200"}'
    soon(lambda: list(scraped.numbers(f"sum({total})", []).values()) == [own[total]], "number of requests")
    place = server.removeprefix("http://")
    requests, latency = panels("serving")[:2]
    soon(lambda: set(scraped.numbers(requests.expr, requests.by)) == set(on_page(place, requests)), requests.title)
    median = scraped.numbers(latency.expr, latency.by)["/reconstruct"]
    assert any(low < median <= high for low, high in filled_buckets(own, "/reconstruct")), median
    mean = own["t5vqvae_serve_batch_size_sum"] / own["t5vqvae_serve_batch_size_count"]
    [batch] = [panel for panel in panels("serving") if panel.metric == "t5vqvae_serve_batch_size"]
    assert list(scraped.numbers(batch.expr, []).values()) == [pytest.approx(mean)] == [len(TEXTS)]


def filled_buckets(own: dict[str, float], route: str) -> list[tuple[float, float]]:
    """The ends of the buckets of latency in which the server has counted an answer."""
    start, end = 't5vqvae_serve_latency_seconds_bucket{le="', f'",route="{route}"}}'
    found = {name.removeprefix(start).removesuffix(end): count for name, count in own.items() if name.endswith(end)}
    ends = sorted((float(name), count) for name, count in found.items() if not name.startswith("t5vqvae"))
    return [(low, high) for (low, fewer), (high, more) in zip([(0.0, 0.0), *ends], ends, strict=False) if more > fewer]


def test_every_query_of_the_cluster_board_has_data_and_ray_s_own_numbers(seen, ablation):
    server, state = seen
    all_have_data(server, panels("cluster"))
    [node] = targets(state, "ray")
    for panel in panels("cluster"):
        soon(lambda: as_its_page(server, panel, node), panel.title)  # noqa: B023
