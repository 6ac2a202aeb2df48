"""Sends journals: the current one during training, and those that dead processes or absent servers left."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Sequence
from pathlib import Path

from t5vqvae.redaction import redacted
from t5vqvae.tracking.outbox.delivery import ArtifactStoreError, Delivery, NotYetError, next_group
from t5vqvae.tracking.outbox.journal import Entry, Journal, leftovers, put_off
from t5vqvae.tracking.server.connection import NotMLflowError, is_permanent, one_line
from t5vqvae.tracking.server.destination import Destination

log = logging.getLogger("t5vqvae.tracking")

MAX_ENTRIES = 100
"""Entries that are read from a journal at once."""


def send_journal(journal: Journal, delivery: Delivery, stop: threading.Event | None = None) -> None:
    """Sends the unsent entries of a journal; entries that MLflow rejects permanently are moved to `rejected.txt`.

    Args:
        journal: What to send.
        delivery: Sends the entries of the journal's run.
        stop: Ends the loop between two requests when it is set.

    Raises:
        Exception: If the server is unreachable, or the run does not exist yet; the rest stays in the journal.
    """
    delivery.spool = journal.path.parent
    while stop is None or not stop.is_set():
        entries, marks = journal.pending(MAX_ENTRIES)
        if not entries:
            return
        group = next_group(entries)
        try:
            _send_group(group, delivery, journal.path)
        except Exception as error:
            if not is_permanent(error):
                raise
            _send_singly(group, delivery, journal.path)
        journal.consume(marks[len(group) - 1])


def _send_group(group: Sequence[Entry], delivery: Delivery, journal: Path) -> None:
    """Sends a group; an artifact that the store does not take waits next to the journal for the next command."""
    try:
        delivery.send(group)
    except ArtifactStoreError as error:
        put_off(journal, delivery.header or {}, group[0])
        server = redacted(delivery.destination.uri)
        if server not in _BROKEN:
            _BROKEN.add(server)
            text = "the artifact store of %s takes no artifacts (%s): mend it; they are kept in %s and sent by the next"
            log.warning(f"{text} command, metrics and parameters are logged", server, error, journal.parent)


_BROKEN: set[str] = set()
"""Servers whose artifact store was reported by this process."""


def confirm_sent(journal: Journal, delivery: Delivery) -> None:
    """Checks that the server has the whole journal; if not, the journal is sent again from its beginning.

    Raises:
        NotMLflowError: If something is missing.
    """
    try:
        delivery.confirm()
    except NotMLflowError:
        journal.rewind()
        delivery.restart()
        raise


def _send_singly(group: Sequence[Entry], delivery: Delivery, journal: Path) -> None:
    for entry in group:
        try:
            delivery.send([entry])
        except Exception as error:
            if not is_permanent(error):
                raise
            rejected = journal.parent / "rejected.txt"
            log.warning("MLflow rejects %s: %s; see %s", entry["kind"], one_line(error), rejected)
            with rejected.open("a") as file:
                rejected.chmod(0o600)
                file.write(f"{one_line(error)}\t{json.dumps(entry)}\n")


def replay(destination: Destination, directory: Path) -> int:
    """Sends the journals that were left under a folder, until the server fails; see `Tracker.replay`."""
    spools = [directory, directory / "spool", *sorted(directory.glob("*/spool"))]
    unreachable, unsent, broken = False, [], None
    for journal in [journal for spool in spools for journal in leftovers(spool)]:
        try:
            if not unreachable:
                delivery = Delivery(destination)
                delivery.broken = broken
                send_journal(journal, delivery)
                confirm_sent(journal, delivery)
                broken = delivery.broken
                journal.close(delete=True)
                continue
        except Exception as error:
            unreachable = not isinstance(error, NotYetError)
        unsent.append(journal)
    for journal in unsent:
        journal.close(delete=False)
    return sum(len(list(spool.glob("*.jsonl"))) for spool in spools)
