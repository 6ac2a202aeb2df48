"""The logger of one run: it appends to a journal at once, and a background thread sends the journal.

Training waits for the disk and, in the first half second of a run, for the run's id; it never waits for the server
otherwise. While the server is unreachable, the thread retries at growing intervals. What is unsent at `close` stays in
the spool folder, where the run's next logger or `Tracker.replay` finds it.
"""

from __future__ import annotations

import json
import logging
import shutil
import threading
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from t5vqvae.redaction import redacted, redacted_values
from t5vqvae.tracking.outbox.delivery import Delivery, NotYetError
from t5vqvae.tracking.outbox.journal import Entry, Journal, leftovers
from t5vqvae.tracking.outbox.replay import confirm_sent, send_journal
from t5vqvae.tracking.plots import usage_svg
from t5vqvae.tracking.server.connection import one_line
from t5vqvae.tracking.server.destination import Destination
from t5vqvae.tracking.server.limits import split_finite
from t5vqvae.tracking.server.runs import now
from t5vqvae.tracking.system import SystemMetrics

log = logging.getLogger("t5vqvae.tracking")

AWAY = "tracking server %s is unreachable (%s); points are kept in %s, and the same command sends them later"
FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0  # seconds between two tries while the server is unreachable
_TEXTS = ("tags", "params", "data", "close")
"""Kinds of entries whose texts may hold secrets; an artifact's path is none."""
SMALL = 1_000_000
"""Largest size in bytes of an artifact that is copied into the spool, so that the original may change or disappear."""


class RunLogger:
    """Logs one run; a context manager, opened by `Tracker.open_logger` or `Tracker.logger`.

    Args:
        destination: The server and the experiment.
        spool: The run's folder for its journals.
        header: The entry of kind `run` that identifies the run.
    """

    def __init__(self, destination: Destination, spool: Path, header: Entry) -> None:
        self.spool = spool
        self._destination = destination
        self._delivery = Delivery(destination)
        self._given_id: str | None = header.get("mlflow_id")
        self._tried = threading.Event()
        self._wake, self._closing, self._abandoned = threading.Event(), threading.Event(), threading.Event()
        self._left = list(leftovers(spool)) if spool.is_dir() else []
        self._journal = Journal.create(spool)
        self._journal.append(header)
        self._system = SystemMetrics()
        self._tables: dict[str, dict[str, str]] = {}
        self._sent = False
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)
        self._thread.start()

    @property
    def mlflow_id(self) -> str | None:
        """MLflow's id of the run; None before the first contact with the server."""
        return self._delivery.mlflow_id or self._given_id

    def wait_opened(self, timeout: float) -> str | None:
        """Returns MLflow's id of the run once it is open.

        Args:
            timeout: Seconds to wait. Returns None after them, or at once when the server is unreachable.
        """
        if self.mlflow_id is None:
            self._tried.wait(timeout)
        return self.mlflow_id

    def log(self, metrics: Mapping[str, float], step: int, tokens: int | None = None) -> None:
        """Logs a milestone with the system metrics in one request.

        Args:
            metrics: `split/name` to value. A value that is not finite becomes a tag `not_finite/...`.
            step: Optimizer steps done. A step that MLflow already has for this run is not logged again.
            tokens: Target tokens seen; adds a second series `tokens/...` for `validation/...` and `train/nll`.
        """
        finite, others = split_finite(metrics)
        self.write("log", metrics=finite | self._system.read(), step=step, tokens=tokens, time=now())
        if others:
            self.tags({f"not_finite/{name}": f"{value} at step {step}" for name, value in others.items()})

    def tags(self, tags: Mapping[str, object]) -> None:
        """Sets tags, except those whose value is None."""
        self.write("tags", tags={name: str(value) for name, value in tags.items() if value is not None})

    def params(self, params: Mapping[str, object]) -> None:
        """Adds parameters; where MLflow holds another value, it keeps that one and gets a tag `now.<name>`."""
        self.write("params", params={name: str(value) for name, value in params.items()})

    def data(
        self, name: str, fingerprint: str, source: Mapping[str, object], profile: Mapping[str, object] | None = None
    ) -> None:
        """Logs the run's training and validation data as MLflow data sets `<name>/train` and `<name>/validation`.

        Args:
            name: The corpus.
            fingerprint: The hash of its content (MLflow keeps 36 characters).
            source: The settings that produced it.
            profile: Facts about it, such as the sizes of its splits.
        """
        shared = {"fingerprint": fingerprint, "source": dict(source), "profile": profile}
        for split, context in (("train", "training"), ("validation", "validation")):
            self.write("data", name=f"{name}/{split}", context=context, **shared)

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Logs a file or folder; a folder, or a file over a megabyte, must stay in place until it is sent."""
        path = Path(path)
        if path.is_file() and path.stat().st_size <= SMALL:
            self._file(path.name, path.read_bytes(), folder)
        else:
            self.write("artifact", path=str(path.resolve()), folder=folder, temporary=False)

    def table(self, rows: Sequence[Mapping[str, object]], name: str) -> None:
        """Logs rows as `<name>.json` in the format of MLflow's `log_table`, which the UI shows side by side."""
        columns = list(dict.fromkeys(column for row in rows for column in row))
        table = {"columns": columns, "data": [[row.get(column) for column in columns] for row in rows]}
        self._file(f"{name}.json", json.dumps(table).encode(), None)
        self._tables[name] = {"path": f"{name}.json", "type": "table"}
        self.tags({"mlflow.loggedArtifacts": json.dumps(list(self._tables.values()))})

    def codebook_usage(self, code_counts: Sequence[Sequence[int]], name: str = "codebook_usage") -> None:
        """Logs a plot of a few kilobytes: how often each code was used, most frequent first.

        Args:
            code_counts: One list per codebook.
            name: The file's name, without `.svg`.
        """
        if code_counts:
            self._file(f"{name}.svg", usage_svg(code_counts).encode(), None)

    def write(self, kind: str, **entry: object) -> None:
        """Appends an entry to the journal; see `t5vqvae.tracking.outbox.delivery` for the kinds."""
        if kind in _TEXTS:
            entry = redacted_values(entry)
        self._journal.append({"kind": kind, **entry})
        self._wake.set()

    def close(self, timeout: float = 30) -> bool:
        """Sends the rest and ends the thread; returns False when entries stay in the spool.

        Args:
            timeout: Seconds to wait for a slow server; a server that refuses connections is not waited for.
        """
        self._closing.set()
        self._wake.set()
        self._thread.join(timeout)
        self._abandoned.set()
        return self._sent

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _file(self, name: str, content: bytes, folder: str | None) -> None:
        """Keeps an artifact in the spool until it is sent; a full disk loses the artifact but does not end the run."""
        place = self.spool / "files" / uuid.uuid4().hex[:12]
        try:
            place.mkdir(parents=True)
            (place / name).write_bytes(content)
            (place / name).chmod(0o600)
        except OSError as error:
            log.warning("artifact %s is not logged: %s", name, error)
            return
        self.write("artifact", path=str((place / name).resolve()), folder=folder, temporary=True)

    def _work(self) -> None:
        """Runs as the thread: sends after every new entry, and retries while the server is unreachable."""
        delay, reason = FIRST_DELAY, None
        while True:
            closing, before = self._closing.is_set(), reason
            self._wake.clear()
            try:
                self._send_all()
                if closing:
                    confirm_sent(self._journal, self._delivery)
                delay, reason = FIRST_DELAY, None
            except Exception as error:
                delay, reason = min(2 * delay, LONGEST_DELAY), error
            self._warn(before, reason)
            self._tried.set()
            if closing or self._abandoned.is_set():
                break
            self._wake.wait(delay if reason else None)
        self._finish(all_sent=reason is None and not self._abandoned.is_set())

    def _warn(self, before: Exception | None, reason: Exception | None) -> None:
        """Logs a warning when the server becomes unreachable, and another when it answers again."""
        server = redacted(self._destination.uri)
        # `NotYetError` is no failure of the server: another journal will create the run.
        was_down, is_down = (not isinstance(error, NotYetError | None) for error in (before, reason))
        if reason and is_down and not was_down:
            log.warning(AWAY, server, one_line(reason), self.spool)
        elif was_down and not is_down:
            log.warning("tracking server %s answers again", server)

    def _send_all(self) -> None:
        while self._left:
            try:
                delivery = Delivery(self._destination)
                send_journal(self._left[0], delivery, self._abandoned)
                confirm_sent(self._left[0], delivery)
                self._left.pop(0).close(delete=not self._abandoned.is_set())
            except NotYetError:
                self._left.pop(0).close(delete=False)
        send_journal(self._journal, self._delivery, self._abandoned)

    def _finish(self, all_sent: bool) -> None:
        for journal in self._left:
            journal.close(delete=False)
        self._journal.close(delete=all_sent)
        if all_sent and not [*self.spool.glob("*.jsonl"), *self.spool.glob("*.later")]:
            shutil.rmtree(self.spool / "files", ignore_errors=True)
        self._sent = all_sent and not self._left
