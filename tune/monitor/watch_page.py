"""The page `watch`: the panels of a study as numbers that move, from its records alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any

from t5vqvae.evaluation.metrics import label
from t5vqvae.stages import duration
from tune.monitor.exporter import snapshot
from tune.monitor.panels import PANELS, Panel
from tune.monitor.row import Row
from tune.monitor.tally import PREFIX, Sample, Tally
from tune.records.study import Study
from tune.spec.judging import StudyHeader
from tune.spec.search_spec import SearchSpec

HOST = "127.0.0.1"
PAGE = "watch.html"
FIRST = tuple(PREFIX + name for name in ("best_objective", "best_rate_bits", "trials_counting", "time_left_seconds"))
"""The metrics at the top of the page."""


class WatchedStudy:
    """Reads the numbers of a study, each record once.

    Args:
        name: The study.
        state: The state folder.
    """

    def __init__(self, name: str, state: Any = None) -> None:
        self.study = study = Study.load(name, state)
        judging = SearchSpec.read(study.paths.spec) if study.kind == "search" else study.header
        self._rungs = judging.rungs if isinstance(judging, SearchSpec) else []
        self._judging: StudyHeader | SearchSpec = judging

    def panels(self) -> list[Mapping[str, Any]]:
        """Returns the panels that have a number, each with its series."""
        samples = self.samples()
        found: list[Mapping[str, Any]] = []
        for panel in (one for one in PANELS if one.board == self.study.kind):
            series = [
                {"label": " ".join(s.labels[name] for name in panel.by), "words": _words(s, panel), "value": s.value}
                for s in samples
                if s.name == panel.metric
            ]
            if series:
                words = {"title": panel.title, "unit": panel.unit, "description": panel.description}
                known = {"field": panel.field, "metric": panel.metric, "place": _place(panel)}
                found.append({**words, **known, "series": series})
        return found

    def numbers(self) -> Mapping[str, Any]:
        """Returns what the page shows: how far the study is, and the panels."""
        panels, progress = self.panels(), self.study.progress()
        share = progress.done / progress.planned if progress.planned else 0.0
        of = "" if progress.planned is None else f" of {progress.planned}"
        state = f"{progress.state}: {progress.done}{of} trials done"
        if progress.left is not None:
            state += f", about {duration(progress.left)} left"
        names = {"study": self.study.name, "question": self.study.question}
        return {**names, "state": state, "share": share, "panels": panels}

    def samples(self) -> list[Sample]:
        """Returns the study's numbers by the records, and those of the snapshot that no record has."""
        self.study.refresh()
        tally = Tally(self.study.name, self._judging, self._rungs)
        for row in self._rows():
            tally.put(row)
        own = [*tally.samples(), *self._of_study()]
        known = {sample.name for sample in own}
        per_trial = (PREFIX + "trial_step", PREFIX + "trial_objective")
        return own + [s for s in self._kept() if s.name not in known and s.name not in per_trial]

    def _rows(self) -> Iterator[Row]:
        labels = self._labels() if self.study.kind == "ablation" else {}
        for record in self.study.records.values():
            overrides = labels.get(record.number, record.overrides)
            yield Row(record.number, overrides, record.status, record.metrics, record.seconds)
        for one in self.study.unfinished.values():
            yield Row(one.number, one.overrides, one.status, one.metrics, one.seconds)

    def _labels(self) -> dict[int, Mapping[str, Any]]:
        events = self.study.events.read()
        return {event["number"]: event["overrides"] for event in events if "arm" in event.get("overrides", {})}

    def _of_study(self) -> Iterator[Sample]:
        progress = self.study.progress()
        for name, value in (
            ("attempt", self.study.events.num_starts),
            ("trials_planned", progress.planned),
            ("time_left_seconds", progress.left),
        ):
            if value is not None:
                yield Sample(PREFIX + name, {"study": self.study.name}, float(value))

    def _kept(self) -> list[Sample]:
        from prometheus_client.parser import text_string_to_metric_families

        try:
            text = snapshot(self.study.paths).read_text(encoding="utf-8")
        except OSError:
            return []
        found = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        return [Sample(sample.name, sample.labels, sample.value) for sample in found]


def _words(sample: Sample, panel: Panel) -> str:
    """Returns the labels of a series as people read them: `trial 3, nll`."""
    said = {"metric": label, "trial": "trial {}".format, "rung": "past step {}".format}
    return ", ".join(said.get(name, str)(sample.labels[name]) for name in panel.by)


def _place(panel: Panel) -> str:
    """Returns the part of the page that a panel is in: the first row, the lists, or what is left."""
    if panel.metric in FIRST:
        return "few"
    return "many" if panel.by else "rest"


def server_of(watched: WatchedStudy, port: int = 0) -> ThreadingHTTPServer:
    """Returns a server of the page on loopback; the caller lets it serve, and closes it.

    Raises:
        OSError: If the port is taken.
    """

    class Handler(BaseHTTPRequestHandler):
        def handle(self) -> None:
            with suppress(ConnectionError):  # the browser went away
                super().handle()

        def do_GET(self) -> None:
            if self.path == "/":
                self._send("text/html; charset=utf-8", files("tune.monitor").joinpath(PAGE).read_bytes())
            elif self.path == "/numbers":
                self._send("application/json", json.dumps(watched.numbers()).encode())
            else:
                self.send_error(404)

        def _send(self, kind: str, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return ThreadingHTTPServer((HOST, port), Handler)
