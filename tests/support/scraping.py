"""A Prometheus (Debian's) that scrapes this project's own metrics every second, for tests of boards and rules."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.service import pick_port
from tests.dashboards import config

RULES = Path(__file__).resolve().parents[2] / "dashboards" / "prometheus"


@dataclass
class Prometheus:
    """A running server; `variables` are put into queries as Grafana does."""

    address: str
    variables: Mapping[str, str]

    def ask(self, query: str) -> list[dict[str, Any]]:
        """Returns the series of a query."""
        for name, value in self.variables.items():
            query = query.replace(f"${name}", value)
        return list(self.read("query", query=query)["result"])

    def numbers(self, query: str, by: Sequence[str]) -> dict[str, float]:
        """Returns the numbers of a query by the values of labels."""
        return {
            " ".join(row["metric"].get(label, "") for label in by): float(row["value"][1]) for row in self.ask(query)
        }

    def read(self, what: str, **words: str) -> Any:
        """Returns what its interface answers."""
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(f"http://{self.address}/api/v1/{what}?{urllib.parse.urlencode(words)}", timeout=10) as reply:
            return json.load(reply)["data"]


def needs_prometheus() -> None:
    """Skips a test where there is no Prometheus; with CI=true it fails."""
    if shutil.which("prometheus") is None:
        assert not os.environ.get("CI"), "needs prometheus (Debian: prometheus)"
        pytest.skip("needs prometheus (Debian: prometheus)")


@contextmanager
def prometheus(folder: Path, targets: Sequence[str], variables: Mapping[str, str]) -> Iterator[Prometheus]:
    """Runs a server on the shipped configuration and rules, once a second; its targets may come and go.

    Args:
        folder: Where it keeps what it has seen.
        targets: Patterns of files that say where to scrape.
        variables: Of the boards.
    """
    needs_prometheus()
    folder.mkdir(parents=True, exist_ok=True)
    values = config()
    values["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    places = [{"files": list(targets), "refresh_interval": "1s"}]
    values["scrape_configs"] = [values["scrape_configs"][0] | {"file_sd_configs": places}]
    values["rule_files"] = [str(RULES / name) for name in ("rules.yml", "alerts.yml")]
    (folder / "own.yml").write_text(yaml.safe_dump(values))
    address = f"127.0.0.1:{pick_port(None)}"
    command = ["prometheus", f"--config.file={folder / 'own.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
    with (folder / "prometheus.log").open("w") as log:
        server = subprocess.Popen([*command, f"--web.listen-address={address}"], stdout=log, stderr=log)
    try:
        _wait_for(server, address, folder / "prometheus.log")
        yield Prometheus(address, variables)
    finally:
        server.terminate()
        server.wait(timeout=20)


def _wait_for(server: subprocess.Popen, address: str, log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            Prometheus(address, {}).ask("1")
            return
        except OSError:
            assert server.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
