"""The files of `dashboards/` are those that the list of panels makes, and Prometheus' own checker takes them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import pytest

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
