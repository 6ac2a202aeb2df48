"""The address of the Ray cluster, checked before Ray connects: Ray itself would wait there for a quarter of an hour."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import ray
from ray.exceptions import AuthenticationError

from t5vqvae.errors import EnvironmentFault, SettingError

VARIABLE = "RAY_ADDRESS"
TOKEN_PATH = "RAY_AUTH_TOKEN_PATH"
SECONDS = 3.0
"""How long a cluster may take to answer; its name's look-up as long again."""
HERE = f"unset {VARIABLE} to start Ray here"
HERE_LOCAL = f"set {VARIABLE}=local to start Ray here"
ALIVE = ("UNAUTHENTICATED", "PERMISSION_DENIED", "UNIMPLEMENTED", "NOT_FOUND")
"""What a server answers that speaks Ray's protocol, but not about its health or not without a token."""

REFUSED = ("nauthenticated", "InvalidAuthToken")
"""Parts of what Ray says of a token that is wrong or missing; `ray.init` calls it a connection that failed."""


def check_cluster() -> None:
    """Refuses a RAY_ADDRESS with which no search can work; does nothing in a process that is connected to Ray.

    Raises:
        SettingError: If the address is none of a cluster, or the file of Ray's token is gone.
        EnvironmentFault: If no cluster answers there.
    """
    if not ray.is_initialized():
        _refuse_missing_token()
        usable_address()


def usable_address() -> str | None:
    """Returns the address for `ray.init`; None: that of RAY_ADDRESS.

    A cluster of this machine that ended without saying so leaves its address behind: Ray is then started anew.

    Raises:
        SettingError, EnvironmentFault: As `check_cluster`.
    """
    given = os.environ.get(VARIABLE, "")
    if given == "local":
        return None
    if given not in ("", "auto"):
        _refuse(given)
        return None
    found = _found_here()
    if found is None or _silent(found) is not None:
        if given == "auto":
            raise EnvironmentFault(f"{VARIABLE}=auto: no Ray cluster runs on this machine; {HERE}")
        return "local"
    return None


@contextmanager
def one_line_for_refusals() -> Iterator[None]:
    """Turns the refusal of a cluster, whose versions or token are others, into one line.

    Raises:
        EnvironmentFault: With that line.
    """
    given = os.environ.get(VARIABLE)
    where = f"{VARIABLE}={given}" if given else "the Ray cluster of this machine"
    try:
        yield
    except (ConnectionError, RuntimeError, AuthenticationError) as error:
        text = f"{error} {error.__cause__ or ''}"
        if "Version mismatch" in text:
            found = re.findall(r"(Ray|Python): (\S+)", text)
            theirs, ours = (" and ".join(map(" ".join, pair)) for pair in (found[:2], found[2:4]))
            raise EnvironmentFault(
                f"{where} runs {theirs}, this process {ours}; start both from one environment, or {HERE_LOCAL}"
            ) from error
        if isinstance(error, AuthenticationError) or any(sign in text for sign in REFUSED):
            raise EnvironmentFault(
                f"{where} refuses the token of this process; set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN (or"
                f' {TOKEN_PATH}) as the cluster has them (of t5vqvae up: eval "$(t5vqvae env)"), or {HERE_LOCAL}'
            ) from error
        if isinstance(error, ConnectionError):
            raise EnvironmentFault(f"{where}: no Ray cluster answers there; start it, or {HERE}") from None
        raise


def _refuse_missing_token() -> None:
    """Raises if the file of Ray's token is gone: Ray would blame a token that is wrong, and only when it starts."""
    path = os.environ.get(TOKEN_PATH)
    disabled = os.environ.get("RAY_AUTH_MODE", "").lower() == "disabled"
    if path and not disabled and not os.environ.get("RAY_AUTH_TOKEN") and not Path(path).is_file():
        raise SettingError(
            f'{TOKEN_PATH}={path} is no file; after t5vqvae up, say eval "$(t5vqvae env)" again, or unset it'
        )


def _refuse(address: str) -> None:
    """Raises unless a cluster answers at an address."""
    if address.startswith(("http://", "https://")):
        raise SettingError(
            f"{VARIABLE}={address} is the address of a server for jobs; submit the search there, with"
            f" RAY_API_SERVER_ADDRESS={address} ray job submit -- python tune/search.py ..., or {HERE}"
        )
    if address.startswith("ray://"):
        raise SettingError(
            f"{VARIABLE}={address} is the address of Ray's client server, through which no search runs; start it on a"
            f" node of the cluster, submit it as a job (ray job submit), or {HERE}"
        )
    if not _is_host_and_port(address):
        raise SettingError(f"{VARIABLE}={address} is no address; it must be HOST:PORT, as 10.0.0.1:6379, or {HERE}")
    if (reason := _silent(address)) is not None:
        raise EnvironmentFault(f"{VARIABLE}={address}: no Ray cluster answers there ({reason}); start it, or {HERE}")


def _is_host_and_port(address: str) -> bool:
    try:
        parts = urlsplit(f"//{address}")
        return bool(parts.hostname and parts.port and parts.netloc == address and re.fullmatch(r"\S+", address))
    except ValueError:
        return False


def _silent(address: str) -> str | None:
    """Returns why no Ray cluster answers at HOST:PORT; None if one does."""
    parts = urlsplit(f"//{address}")
    try:
        host = _resolved(str(parts.hostname), int(parts.port or 0))
        with socket.create_connection(host, timeout=SECONDS):
            pass
    except TimeoutError:
        return "no answer in time"
    except OSError as error:
        return error.strerror or str(error)
    return _not_ray(address)


def _resolved(host: str, port: int) -> tuple[str, int]:
    """Returns the address of a host; looked up in a thread, because a look-up has no time limit."""
    outcome: Future[tuple[str, int]] = Future()

    def look_up() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4]
            outcome.set_result((str(found[0]), int(found[1])))
        except Exception as error:
            outcome.set_exception(error)

    Thread(target=look_up, daemon=True).start()
    return outcome.result(SECONDS)


def _not_ray(address: str) -> str | None:
    """Returns what is wrong with a server that does not speak Ray's protocol; None if it does."""
    if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
        return None  # a certificate is Ray's matter
    import grpc

    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=SECONDS)
        except grpc.RpcError as error:
            if error.code().name not in ALIVE:
                return "another kind of server"
    return None


def _found_here() -> str | None:
    """Returns the address of the cluster of this machine that Ray would connect to by itself; None without one."""
    from ray._private.services import find_bootstrap_address, find_gcs_addresses

    if os.environ.get(VARIABLE) == "auto":
        return next(iter(find_gcs_addresses()), None) or find_bootstrap_address(None)
    return find_bootstrap_address(None)
