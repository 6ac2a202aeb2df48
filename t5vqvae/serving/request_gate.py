"""What every request passes: it is counted, timed, and refused without the token. An error is one line of JSON."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable
from typing import Any

from starlette.responses import JSONResponse

Scope = dict[str, Any]
OPEN = frozenset({"/", "/docs", "/openapi.json", "/health", "/metrics"})
"""Paths without a token: pages without data, and what a probe and Prometheus read."""
UNKNOWN = "unknown"
"""The route of a path that has none, so that callers cannot make up labels."""


class Gate:
    """An ASGI middleware.

    Args:
        app: The application behind it.
        token: What a caller must send as `Authorization: Bearer TOKEN`; None: nothing.
        answered: Receives route, status and seconds of every request.
    """

    def __init__(self, app: Any, token: str | None, answered: Callable[[str, int, float], None]) -> None:
        self._app, self._answered = app, answered
        self._expected = None if token is None else f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def noted(message: dict[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            behind: Any = self._app if self._may_pass(scope) else _REFUSED
            await behind(scope, receive, noted)
        finally:
            route = getattr(scope.get("route"), "path", UNKNOWN)
            self._answered(route, status, time.perf_counter() - started)

    def _may_pass(self, scope: Scope) -> bool:
        if self._expected is None or scope["path"] in OPEN or scope["path"].startswith("/assets/"):
            return True
        given = dict(scope["headers"]).get(b"authorization", b"")
        return hmac.compare_digest(given, self._expected)


def refusal(status: int, reason: str, **headers: str) -> JSONResponse:
    """Returns an error in one line."""
    plain = reason.encode("utf-8", "backslashreplace").decode()  # a name of a field may have half a character
    return JSONResponse({"error": " ".join(plain.split())}, status, headers)


_REFUSED = refusal(
    401, "this server needs its token; send the header Authorization: Bearer TOKEN", **{"WWW-Authenticate": "Bearer"}
)
