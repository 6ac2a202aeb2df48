"""The files of `dashboards/` are those that the list of panels makes, and Prometheus' own checker takes them."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess

import pytest
from kubernetes_objects import faults, read
from programs import from_npm

from tests.dashboards import FOLDER, known_to_grafana, written
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
