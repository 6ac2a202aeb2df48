"""The files of `dashboards/` are those that the list of panels makes, and Prometheus' own checker takes them."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import subprocess

import pytest
import yaml
from kubernetes_objects import faults, read
from programs import from_npm

from tests.dashboards import FOLDER, alerts, known_to_grafana, ray_monitor, serving_monitor, written
from tune.monitor.panels import BOARDS, PANELS

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None and not os.environ.get("CI"), reason="needs promtool (Debian: prometheus)"
)


def test_the_files_are_up_to_date():
    stale = [path for path, text in written().items() if (FOLDER / path).read_text(encoding="utf-8") != text]
    assert stale == [], "run python -m tests.dashboards"


@pytest.mark.parametrize("name", BOARDS)
def test_a_board_survives_the_sdk(name):
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models.dashboard import Dashboard

    values = json.loads((FOLDER / "grafana" / f"{name}.json").read_text())
    again = known_to_grafana(json.loads(JSONEncoder().encode(Dashboard.from_json(values))))
    assert again == values and values["panels"]


def test_every_panel_says_what_it_shows_in_what_unit():
    assert [panel.title for panel in PANELS if not (panel.unit and panel.description and panel.field)] == []


@needs_promtool
def test_promtool_takes_the_configuration_and_the_rules():
    folder = FOLDER / "prometheus"
    subprocess.run(["promtool", "check", "config", folder / "prometheus.yml"], check=True, capture_output=True)
    subprocess.run(["promtool", "test", "rules", folder / "tests.yml"], check=True, capture_output=True)


def test_what_ray_exports_gets_the_names_that_boards_ask_for():
    """Ray gives a driver's metric `t5vqvae_trials` as `ray_t5vqvae_trials`."""
    [rule] = ray_monitor()["spec"]["podMetricsEndpoints"][0]["metricRelabelings"]
    names = [panel.metric for panel in PANELS if panel.metric.startswith("t5vqvae_")]
    new = rule["replacement"].replace("$", "\\")
    renamed = [re.fullmatch(rule["regex"], f"ray_{name}").expand(new) for name in names]
    assert renamed == names and rule["sourceLabels"] == [rule["targetLabel"]] == ["__name__"]
    assert re.fullmatch(rule["regex"], "ray_node_cpu_utilization") is None


@pytest.mark.parametrize("monitor", [ray_monitor, serving_monitor])
def test_a_monitor_asks_ports_that_pods_have(monitor):
    spec = yaml.safe_load((FOLDER.parent / "cluster/kuberay/pods/pods.yaml").read_text())["spec"]
    groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    assert all(group["template"]["metadata"]["labels"]["app"] == "t5vqvae" for group in groups)
    ports = {each["name"] for g in groups for c in g["template"]["spec"]["containers"] for each in c["ports"]}
    assert {each["port"] for each in monitor()["spec"]["podMetricsEndpoints"]} <= ports


def test_an_alert_on_kubernetes_asks_for_no_target_that_only_a_state_folder_has():
    object_ = yaml.safe_load((FOLDER / "kubernetes/prometheus-rule.yaml").read_text())
    own, kept = (
        {rule["alert"]: rule["expr"] for group in groups for rule in group["rules"] if "alert" in rule}
        for groups in (alerts()["groups"], object_["spec"]["groups"])
    )
    assert kept == {name: expr for name, expr in own.items() if 'job="' not in expr}
    assert set(own) - set(kept) == {"T5vqvaeDriverGone"}


@needs_promtool
def test_an_alert_of_a_study_is_of_one_that_runs(tmp_path):
    folder = FOLDER / "prometheus"
    text = (folder / "tests.yml").read_text()
    ended = text.replace('status="running"}\', values: "1x60"', 'status="running"}\', values: "0x60"')
    assert ended != text
    values = yaml.safe_load(ended)
    values["rule_files"] = [str(folder / name) for name in values["rule_files"]]
    for test in values["tests"]:
        for rule in test["alert_rule_test"]:
            if rule["alertname"] in ("T5vqvaeNoProgress", "T5vqvaeManyFailures", "T5vqvaeNothingCounts"):
                rule["exp_alerts"] = []
    (tmp_path / "tests.yml").write_text(yaml.safe_dump(values))
    subprocess.run(["promtool", "test", "rules", tmp_path / "tests.yml"], check=True, capture_output=True)


@pytest.mark.parametrize("path", sorted((FOLDER / "kubernetes").glob("*.yaml")), ids=lambda path: path.stem)
def test_kubernetes_takes_the_object_and_no_field_more(path):
    [thing] = read(path.read_text())
    assert faults(thing) == []
    spoilt = copy.deepcopy(thing)
    spoilt.get("spec", spoilt)["unknownField"] = 1
    assert any("unknownField" in fault for fault in faults(spoilt))


GRAFANA = ("@grafana/schema@13.2.3", "typescript@5.9.3")
STRICT = ["--noEmit", "--strict", "--skipLibCheck", "--module", "nodenext", "--moduleResolution", "nodenext"]
IMPORT = "import type { Dashboard } from '@grafana/schema';\n"


def type_errors(boards: dict[str, dict]) -> dict[str, list[str]]:
    """Returns what Grafana's types refuse in the JSON of boards, by their names."""
    folder = from_npm(*GRAFANA)
    for name, board in boards.items():
        (folder / f"{name}.ts").write_text(f"{IMPORT}export const board: Dashboard = {json.dumps(board)};\n")
    command = [folder / "node_modules" / ".bin" / "tsc", *STRICT, *(f"{name}.ts" for name in boards)]
    lines = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120).stdout.splitlines()
    found = {name: [line for line in lines if line.startswith(f"{name}.ts(")] for name in boards}
    assert sum(map(len, found.values())) == len(lines), lines
    return found


@pytest.mark.slow
def test_boards_have_the_types_of_grafana():
    boards = {name: json.loads((FOLDER / "grafana" / f"{name}.json").read_text()) for name in BOARDS}
    spoilt = {"number": {**boards["search"], "refresh": 10}, "name": {**boards["search"], "titel": "x"}}
    found = type_errors(boards | spoilt)
    assert {name: found.pop(name) for name in boards} == {name: [] for name in boards}
    assert "not assignable to type 'string'" in found["number"][0] and "titel" in found["name"][0]
