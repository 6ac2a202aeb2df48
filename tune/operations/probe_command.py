"""The command `probe`: what a trained model's codes say and control."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from t5vqvae.config import parse_words
from t5vqvae.disk import writable
from tune.command_line import Command, Group, State, words_argument
from tune.operations.options import Model
from tune.process import NOTHING_WORKED
from tune.records.study_paths import state_dir

app = typer.Typer(cls=Group)


@app.command(cls=Command)
def probe(
    model: Model,
    words: Annotated[
        list[str] | None, words_argument("", "Settings of the probe: split, sentences, edits, unsent, seed.")
    ] = None,
    suite: Annotated[str, typer.Option(metavar="SUITE", help="quick or full.")] = "quick",
    against: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Compare control with another model's, on the same edits.")
    ] = None,
    into: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder to write to; default: one of the state folder.")
    ] = None,
    state: State = None,
) -> int:
    """Measure what a trained model's codes say and control.

    Writes probe.html and probe.json. Exit status 1: there was nothing to measure.
    """
    from tune.records.models import find_model

    home = state_dir(state)
    found = find_model(model, home)
    from t5vqvae.spec.probe import ProbeSpec
    from tune.report.probe_comparison import refuse_another_corpus, with_comparison
    from tune.report.probe_report import folder_of, probe_model, summary, write_probe

    spec = ProbeSpec.parse({**parse_words(list(words or [])), "suite": suite})
    other = None if against is None else find_model(against, home)
    if other is not None:
        refuse_another_corpus(found, other, against or "")
    folder = into or folder_of(found, spec, home, other)
    folder = writable(folder, "{} cannot be written: {}; name another folder by --into")
    result, claims = probe_model(found, spec, home / "cache"), list[str]()
    if other is not None:
        result, claims = with_comparison(result, found, other, spec, home / "cache")
    print("\n".join([summary(result), *claims]))
    for path in write_probe(result, found, spec, folder):
        print(path)
    return 0 if result.metrics else NOTHING_WORKED
