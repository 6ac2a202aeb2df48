"""The commands `serve` and `playground`: a trained model over HTTP, and a page on which to change its codes."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from t5vqvae.errors import SettingError
from t5vqvae.stages import stage
from tune.command_line import Command, Group, State
from tune.operations.opened import lines_of
from tune.operations.options import Model, Sentences, Texts

app = typer.Typer(cls=Group)
TOKEN = "T5VQVAE_TOKEN"
"""Environment variable with the token: a command line can be read by all users of a machine."""

Host = Annotated[str, typer.Option(metavar="HOST", help="Address; others than loopback need $T5VQVAE_TOKEN.")]
Port = Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="Port; 0: any free one.")]
Workers = Annotated[int, typer.Option(metavar="N", min=1, help="Processes that answer.")]
Threads = Annotated[int | None, typer.Option(metavar="N", min=1, help="Threads a process; default: the free cores.")]
MaxTexts = Annotated[int, typer.Option(metavar="N", min=1, help="Most sentences of a request, given or decoded.")]
MaxChars = Annotated[int, typer.Option(metavar="N", min=1, help="Most characters of a sentence.")]
MaxBatch = Annotated[int, typer.Option(metavar="N", min=1, help="Most sentences that are computed together.")]
Queue = Annotated[int, typer.Option(metavar="N", min=1, help="Most sentences that wait; more are refused with 503.")]


def _above_zero(param: typer.CallbackParam, value: float) -> float:
    if not 0 < value < math.inf:
        raise SettingError(f"{param.opts[-1]} {value:g} must be a number of seconds above 0, such as 10")
    return value


Refresh = Annotated[
    float, typer.Option(metavar="SECONDS", callback=_above_zero, help="Time between two looks at the alias.")
]


@app.command(cls=Command)
def serve(
    model: Model,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    workers: Workers = 1,
    threads: Threads = None,
    max_texts: MaxTexts = 64,
    max_chars: MaxChars = 2000,
    max_batch: MaxBatch = 64,
    queue: Queue = 1024,
    refresh: Refresh = 10.0,
    texts: Texts = None,
    sentences: Sentences = 2000,
    state: State = None,
) -> None:
    """Serve a trained model over HTTP.

    /docs lists the operations, /health and /metrics are for machines. With $T5VQVAE_TOKEN set, callers send it as
    Authorization: Bearer TOKEN. When the alias of models:/NAME@ALIAS moves, the server follows without dropping a
    request.
    """
    limits = {"max_texts": max_texts, "max_chars": max_chars, "max_batch": max_batch, "queue": queue}
    own = {**limits, "refresh_seconds": refresh, "sentences": sentences}
    _serve(model, texts, state, host, port, workers, threads, own)


@app.command(cls=Command)
def playground(
    model: Model,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    texts: Texts = None,
    sentences: Sentences = 2000,
    state: State = None,
) -> None:
    """Open a page to read and change the codes of sentences.

    The page needs no internet. It is a server like that of `t5vqvae serve`, with the page at /.
    """
    _serve(model, texts, state, host, port, 1, None, {"sentences": sentences, "page": True})


def _serve(
    model: str,
    texts: Path | None,
    state: Path | None,
    host: str,
    port: int,
    workers: int,
    threads: int | None,
    own: Mapping[str, object],
) -> None:
    from tune.operations import serving

    if texts is not None:
        lines_of(texts)  # refused now, and not when somebody asks for the first page of a code
    token = os.environ.get(TOKEN, "").strip() or None
    with serving.bound(host, port, token) as listener:
        with stage("importing torch and transformers"):
            from t5vqvae.serving.serve_settings import ServeSettings
            from t5vqvae.training.threads import free_threads
            from tune.operations.model_source import ModelSource

        each = threads or max(1, free_threads() // workers)
        settings = ServeSettings.parse({**own, "threads": each, "token": token})
        serving.serve(ModelSource(model, state, settings.sentences, texts), settings, listener, workers)
