"""The server's application: one route an operation, and those about the server and its codes.

Every operation is `POST /NAME` with the fields of its request (`t5vqvae.latent.requests`); the answers stand in the
order of the sentences, next to the name and version of the model that gave them.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import create_model
from starlette.exceptions import HTTPException
from typing_extensions import TypedDict

from t5vqvae import __version__
from t5vqvae.errors import SettingError, UserError
from t5vqvae.latent import requests
from t5vqvae.latent.answers import ANSWERS, answer
from t5vqvae.latent.sentence import Sentence
from t5vqvae.serving import pages
from t5vqvae.serving.batcher import Batcher, BusyError
from t5vqvae.serving.code_pages import CodeList, CodePage, CodePages
from t5vqvae.serving.request_gate import Gate, refusal
from t5vqvae.serving.serve_metrics import ServeMetrics
from t5vqvae.serving.serve_settings import ServeSettings
from t5vqvae.serving.served_model import Current, ServedModel, Source
from t5vqvae.training.threads import use_threads

_SENTENCES = "sentences"
"""The key of texts that are encoded for the pages of codes."""
TITLE = "t5vqvae"
ABOUT = (
    "A trained model over HTTP. An operation takes a JSON object with the fields below and returns answers in the order"
    " of the sentences, with the name and version of the model that gave them. Where the server has a token, send"
    " Authorization: Bearer TOKEN."
)
"""What stands at the head of the operations."""


class Server:
    """What the routes share: the model, the batcher and the metrics."""

    def __init__(self, source: Source, settings: ServeSettings) -> None:
        """Loads the model.

        Raises:
            UserError: If it cannot be loaded.
        """
        self.settings, self.metrics = settings, ServeMetrics()
        self.current = Current(source, self.metrics.swapped)
        self.batcher = Batcher(
            self._computed,
            settings.max_batch,
            settings.queue,
            self.metrics.batch,
            self.metrics.waiting,
            lambda: use_threads(settings.threads),
        )
        self.code_pages = CodePages(self._encoded, settings.queue)

    async def reply(self, request: requests.Request) -> Response:
        """Returns the answers to a request."""
        self._refuse_large(request)
        model, items = self.current.model, request.items()
        answers = await self.batcher.answers((model, request.shared()), items, _length, request.decoded())
        return _json({"answers": answers, "model": model.label})

    def _refuse_large(self, request: requests.Request) -> None:
        limits = self.settings
        for text in request.strings():
            if len(text) > limits.max_chars:
                raise SettingError(
                    f"{text!r:.40}... has {len(text)} characters; a sentence may have {limits.max_chars}"
                )
        if (most := max(map(len, request.codes_given), default=0)) > limits.max_chars:
            raise SettingError(f"codes has a sentence of {most} positions; it may have {limits.max_chars}")
        _refuse_many(request, limits)

    def _computed(self, key: Any, items: Sequence[Any]) -> Sequence[Any]:
        model, shared = key
        return model.space.encode(items) if shared is _SENTENCES else answer(model.space, shared, items)

    async def _encoded(self, model: ServedModel, texts: Sequence[str]) -> list[Sentence]:
        return await self.batcher.answers((model, _SENTENCES), texts, len)


def create_app(source: Source, settings: ServeSettings) -> FastAPI:
    """Returns the application of a model, loaded.

    Raises:
        UserError: If the model cannot be loaded.
    """
    server = Server(source, settings)

    @asynccontextmanager
    async def running(app: FastAPI) -> AsyncIterator[None]:
        following = asyncio.create_task(server.current.follow(settings.refresh_seconds))
        yield
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following
        await asyncio.to_thread(server.batcher.close)

    app = FastAPI(title=TITLE, version=__version__, description=ABOUT, docs_url=None, redoc_url=None, lifespan=running)
    app.add_middleware(Gate, token=settings.token, answered=server.metrics.answered)
    for name, body in requests.REQUESTS.items():
        _add_operation(app, server, name, body)
    _add_own(app, server)
    _add_codes(app, server)
    pages.add_pages(app, settings.page)
    _add_refusals(app)
    return app


def _add_operation(app: FastAPI, server: Server, name: str, body: type[requests.Request]) -> None:
    async def operation(request: Request) -> Response:
        return await server.reply(body.parse(await _values(request, server.settings.max_bytes)))

    fields: Any = {"answers": (list[ANSWERS[name]], ...), "model": (dict[str, str], ...)}  # type: ignore[valid-type]
    reply = create_model(f"{body.__name__}Reply", **fields)
    content = {"application/json": {"schema": body.model_json_schema()}}
    app.add_api_route(
        f"/{name}",
        operation,
        methods=["POST"],
        name=name,
        summary=body.__doc__,
        response_model=None,
        responses={200: {"model": reply}, **_REFUSALS},
        openapi_extra={"requestBody": {"content": content, "required": True}},
    )


class _Refused(TypedDict):
    """Why a request has no answer, in one line."""

    error: str


_REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": _Refused, "description": why}
    for status, why in {
        400: "The request is wrong, or this model cannot answer it.",
        401: "The token is missing or wrong.",
        413: "The body is larger than the limits allow.",
        500: "The server failed; its log has the reason.",
        503: "Too many sentences wait; Retry-After says when to send it again.",
    }.items()
}


def _add_own(app: FastAPI, server: Server) -> None:
    @app.get("/health", summary="Whether the server answers, with which model.")
    async def health() -> dict[str, Any]:
        if not server.batcher.alive:
            raise HTTPException(500, "the thread that computes has ended; start the server again")
        return {
            "status": "ok",
            "model": server.current.model.label,
            "queue": len(server.batcher),
            "worker": os.getpid(),
        }

    @app.get("/metrics", summary="Metrics of all workers for Prometheus.", response_class=Response)
    async def metrics() -> Response:
        return Response(server.metrics.page(), media_type="text/plain; version=1.0.0; charset=utf-8")


def _add_codes(app: FastAPI, server: Server) -> None:
    @app.get("/codes", summary="The codes that training sentences use.")
    async def codes(codebook: int = 0) -> CodeList:
        return await server.code_pages.all(server.current.model, codebook)

    @app.get("/codes/{code}", summary="One code: its contexts, count and purity.")
    async def code(code: int, codebook: int = 0) -> CodePage:
        return await server.code_pages.one(server.current.model, code, codebook)


def _add_refusals(app: FastAPI) -> None:
    async def refused(request: Request, error: Exception) -> Response:
        if isinstance(error, BusyError):
            return refusal(503, str(error), **{"Retry-After": "1"})
        if isinstance(error, _TooLargeError):
            return refusal(413, str(error))
        return refusal(400, "; ".join(str(error).splitlines()))

    async def unknown(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        way_out = {404: "there is no such page; see /docs", 405: "use another method; see /docs"}
        found = f"{request.method} {request.url.path:.80}: {way_out.get(error.status_code, error.detail)}"
        return refusal(error.status_code, found, **dict(error.headers or {}))

    async def failed(request: Request, error: Exception) -> Response:
        return refusal(500, f"the server failed with {type(error).__name__}; its log has the reason")

    async def malformed(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        lines = [f"{each['loc'][-1]}={each['input']!r:.60}: {each['msg']}" for each in error.errors()]
        return refusal(400, "; ".join(lines))

    handlers: dict[type[Exception], Callable[[Request, Exception], Awaitable[Response]]] = {
        UserError: refused,
        HTTPException: unknown,
        RequestValidationError: malformed,
        Exception: failed,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


class _TooLargeError(UserError):
    """A body has more bytes than the limits allow sentences."""


async def _values(request: Request, most: int) -> dict[str, Any]:
    """Returns the JSON object of a body.

    Raises:
        UserError: If it is none, or too large.
    """
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > most:
            raise _TooLargeError(f"the body has more than {most} bytes; send fewer sentences")
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise SettingError('the body is no JSON; send an object such as {"texts": ["a sentence"]}') from None
    if not isinstance(found, dict):
        raise SettingError(f'the body is a JSON {type(found).__name__}; send an object such as {{"texts": ["a b"]}}')
    return found


def _refuse_many(request: requests.Request, limits: ServeSettings) -> None:
    """Refuses more sentences than a request may have, or than can wait, which no later try would change.

    Raises:
        SettingError: With the limits.
    """
    most, given = min(limits.max_texts, limits.queue), len(request.texts_given)
    why = f"the smaller of --max-texts={limits.max_texts} and --queue={limits.queue}"
    if (size := request.decoded()) > most:
        default = "" if request.decodes in request.model_fields_set else ", its default,"
        way_out = "give a smaller one, or serve with larger limits"
        raise SettingError(f"{request.decodes}={size}{default} must be at most {most}, {why}; {way_out}")
    if (number := len(request.items()) * size) > most or given > limits.max_texts:
        raise SettingError(
            f"{max(number, given)} sentences are more than the {most} of a request, {why}; send them in parts"
        )


def _length(item: Any) -> int:
    """Returns how long an item takes, roughly: the characters of a text, or the positions of codes."""
    return len(item) if isinstance(item, str) else len(item[0]) if isinstance(item, tuple) else 0


def _json(values: Any) -> Response:
    return Response(json.dumps(values, ensure_ascii=False), media_type="application/json")
