"""Screens of MLflow's own pages: the runs of a study, the page of the study, and the version that was registered."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from browser import chromium, mlflow_server

from t5vqvae.tracking import Tracker
from t5vqvae.tracking.server.runs import TRAINING_PAGES
from tune.records.study import Study
from tune.records.study_tracker import tracking_uri

SIZE = (1280, 800)
CARD_HEIGHT = 780
"""Ends the model card between two of its tables."""
MODEL = "t5vqvae"
SHOWN, LEFT_OUT = ("validation/nll", "rate/joint_bits_per_token"), ("Dataset", "Source", "Models")
"""Columns that are added to the table of runs, and those that make room for them."""
SETTLED_MS = 2_000
START_SECONDS = 600
"""The longest that a server may take to start, next to other work."""


class MLflowScreens:
    """Takes screens of what an ended and promoted study left in MLflow.

    Args:
        study: The study.
        state: Its state folder.
        save: Saves a page under a name.
    """

    def __init__(self, study: Study, state: Path, save: Callable[[str, Any], None]) -> None:
        self.state, self.save = state, save
        self._tracker = Tracker(tracking_uri(state), study.name)
        self._trial = next(iter(study.records.values()))

    @property
    def is_registered(self) -> bool:
        """Whether a version of the model is there."""
        return bool(self._tracker.registry(MODEL).versions())

    def take(self) -> None:
        """Takes all three from one server."""
        destination = self._tracker.destination
        parent = destination.run(str(self._trial.mlflow_id)).data.tags["mlflow.parentRunId"]
        experiment = f"experiments/{destination.find_or_create()}"
        log = self.state / "mlflow-server.log"
        with mlflow_server(self._tracker.uri, log, START_SECONDS) as address, chromium(*SIZE) as page:
            open_page(page, f"{address}/#/{experiment}/runs?{TRAINING_PAGES}", "Run Name")
            assistant = page.get_by_role("button", name=re.compile("close", re.IGNORECASE))
            if assistant.count():
                assistant.last.click()
            show_trials(page)
            self.save("mlflow-runs", page)
            open_page(page, f"{address}/#/{experiment}/runs/{parent}?{TRAINING_PAGES}", "Best trial")
            page.get_by_text("Show more").first.click()
            page.wait_for_timeout(SETTLED_MS)
            self.save("mlflow-study", page)
            open_page(page, f"{address}/#/models/{MODEL}/versions/1?{TRAINING_PAGES}", "Limits.")
            page.set_viewport_size({"width": SIZE[0], "height": CARD_HEIGHT})
            self.save("mlflow-version", page)


def open_page(page: Any, url: str, ready: str) -> None:
    page.goto("about:blank")  # a change of the address after `#` alone leaves parts of the page before
    page.goto(url)
    page.get_by_text(ready).first.wait_for()
    page.wait_for_timeout(SETTLED_MS)


def show_trials(page: Any) -> None:
    """Opens the trials in the table of runs, with their whole names, and two metrics as columns."""
    page.locator(".ag-row").get_by_role("button").first.click()
    page.get_by_role("button", name="Columns").click()
    for column in (*SHOWN, *LEFT_OUT):
        page.get_by_placeholder("Search columns").fill(column)
        row = page.locator("[class*=tree-treenode]", has_text=re.compile(rf"^{re.escape(column)}$"))
        row.locator("[class*=tree-checkbox]").first.click()
    page.keyboard.press("Escape")
    handle = page.locator(".ag-header-cell", has_text="Run Name").locator(".ag-header-cell-resize")
    handle.hover()
    box = handle.bounding_box()
    page.mouse.down()
    page.mouse.move(box["x"] + 240, box["y"] + box["height"] / 2, steps=10)
    page.mouse.up()
    page.mouse.move(0, 0)  # off what would explain itself
    page.wait_for_timeout(SETTLED_MS)
