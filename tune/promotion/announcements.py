"""Announces that an alias moved: by our own HTTP request, and by a command.

A request carries an id, a time stamp, and an HMAC-SHA256 over `TIMESTAMP.BODY` with the secret of
T5VQVAE_WEBHOOK_SECRET, so that the receiver can tell who sent it, refuse old ones, and ignore a second copy. It is
written to the outbox `promotions/outbox` before it is sent, and tried three times. What was not taken stays there: each
promotion or rollback of this state folder with --notify that ends sends it again, to the address of its event,
whether or not an alias moves. A receiver may thus see one id twice; it loses one where the process dies between moving
the alias and writing to the outbox.

Why not MLflow's own webhooks: they are experimental (MLflow 3.17), work with a server on a SQL store only, so not with
the database of `make search`; they fire for every alias and every writer, also before our second look at the alias has
told who won; their payload has no numbers of the comparison; and deliveries that failed are not kept. They may be used
besides these: what they say of the alias is true once `t5vqvae promote` has ended.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import os
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t5vqvae.errors import DamagedFileError, SettingError
from t5vqvae.files import read_mapping, write_json
from t5vqvae.redaction import redacted

SECRET = "T5VQVAE_WEBHOOK_SECRET"
"""The variable with the secret that requests are signed with."""
TRIES, TIMEOUT = 3, 5.0
WAITS = (0.5, 2.0)
"""Seconds before the second and the third try."""
AGAIN = "the next promotion or rollback with --notify"


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: a POST would become a GET, without the event, and count as delivered."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


@dataclass(frozen=True)
class Receivers:
    """The address and the command that learn of a moved alias.

    Attributes:
        notify: An address that gets a signed request; None: none.
        command: A shell command that is run; None: none.
    """

    notify: str | None = None
    command: str | None = None

    def announce(self, event: Mapping[str, Any] | None, outbox: Path) -> list[str]:
        """Announces an event to all of them; returns a line for each that did not take it.

        Args:
            event: What happened; None: nothing, so only what is still in the outbox is sent.
            outbox: The folder of unsent events.
        """
        lines = announce(self.notify, event, outbox) if self.notify else []
        failed = run_command(self.command, event) if self.command and event is not None else None
        return [*lines, *([failed] if failed else [])]


def refuse_address(url: str | None) -> None:
    """Refuses an address that cannot be announced to, before anything is tested.

    Raises:
        SettingError: If it is no HTTP address, or there is no secret to sign with.
    """
    if url is None:
        return
    if not _is_address(url):
        raise SettingError(
            f"--notify {redacted(url)!r} is no address; write http://HOST/PATH or https://HOST/PATH, with %20 for a"
            " space and no user"
        )
    if not os.environ.get(SECRET):
        raise SettingError(f"--notify {redacted(url)} needs a secret to sign with; set {SECRET}")


def _is_address(url: str) -> bool:
    """Returns whether urllib can send to an address; it cannot with a user, spaces, or a port that is no number."""
    try:
        parts = urllib.parse.urlsplit(url)
        named = bool(parts.hostname) and parts.port != 0 and parts.username is None
    except ValueError:
        return False
    return named and parts.scheme in ("http", "https") and all("!" <= letter <= "~" for letter in url)


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """Returns the signature of a request, as the receiver computes it again."""
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def announce(
    url: str, event: Mapping[str, Any] | None, outbox: Path, sleep: Callable[[float], object] = time.sleep
) -> list[str]:
    """Announces an event, after those that are still in the outbox; returns a line for each that stays there.

    Args:
        url: Where to; an outbox entry keeps its own address.
        event: What happened, as plain values; None: nothing.
        outbox: The folder of unsent events.
        sleep: Waits between two tries.
    """
    if event is not None:
        _keep(url, event, outbox)
    return list(deliver(outbox, sleep))


def _keep(url: str, event: Mapping[str, Any], outbox: Path) -> None:
    """Writes an event to the outbox, with an id."""
    created = f"{time.time():.6f}"
    identity = uuid.uuid4().hex
    outbox.mkdir(parents=True, exist_ok=True)
    entry = {"url": url, "event": {"id": identity, "created": created, **event}}
    file = outbox / f"{created}-{identity}.json"
    write_json(file, entry)
    file.chmod(0o600)  # an address may hold a password


def deliver(outbox: Path, sleep: Callable[[float], object] = time.sleep) -> Iterator[str]:
    """Sends what is in the outbox, oldest first; yields a line for each event that stays."""
    for file in sorted(outbox.glob("*.json")):
        try:
            entry = read_mapping(file)
            failed = _sent(entry["url"], entry["event"], sleep)
        except FileNotFoundError:  # another process sent it meanwhile
            continue
        except (DamagedFileError, KeyError):
            yield f"{file} is damaged and was not announced; delete it"
            continue
        if failed is None:
            file.unlink(missing_ok=True)
        else:
            yield f"not announced to {redacted(entry['url'])}: {failed}; {AGAIN} sends it from {file}"


def _sent(url: str, event: Mapping[str, Any], sleep: Callable[[float], object]) -> str | None:
    """Sends an event, with three tries; returns why it was not taken, None if it was."""
    body, secret, failed = json.dumps(event, sort_keys=True).encode(), os.environ.get(SECRET, ""), ""
    if not secret:
        return f"{SECRET} is not set"
    for number in range(TRIES):
        if number:
            sleep(WAITS[number - 1])
        timestamp = str(int(time.time()))
        headers = {
            "Content-Type": "application/json",
            "X-T5VQVAE-Id": event["id"],
            "X-T5VQVAE-Timestamp": timestamp,
            "X-T5VQVAE-Signature": f"sha256={signature(secret, timestamp, body)}",
        }
        try:
            request = urllib.request.Request(url, body, headers, method="POST")
            with urllib.request.build_opener(_NoRedirects).open(request, timeout=TIMEOUT):
                return None
        except urllib.error.HTTPError as error:
            failed = f"HTTP {error.code}"
        except http.client.HTTPException as error:  # by its name: its text may hold the address's password
            failed = f"no HTTP: {type(error).__name__}"
        except (OSError, ValueError) as error:
            failed = str(getattr(error, "reason", error))
    return f"{failed}, {TRIES} times"


def run_command(command: str, event: Mapping[str, Any]) -> str | None:
    """Runs a shell command with an event as JSON on its standard input; returns a line if it failed.

    The event's plain values are also in its environment: `T5VQVAE_VERSION` and so on.
    """
    values = {f"T5VQVAE_{key.upper()}": str(value) for key, value in event.items() if isinstance(value, str | int)}
    done = subprocess.run(
        command, shell=True, input=json.dumps(event), text=True, env={**os.environ, **values}, check=False
    )
    return None if done.returncode == 0 else f"--on-promote ended with status {done.returncode}: {command}"
