"""The command `probe`: what a trained model's codes say and control."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from t5vqvae.config import parse_words
from t5vqvae.disk import writable
from t5vqvae.errors import SettingError, TrackingError
from tune.command_line import Command, Group, State, words_argument
from tune.operations.options import Model
from tune.process import NOTHING_WORKED
from tune.records.study_paths import state_dir

if TYPE_CHECKING:
    from t5vqvae.measures.probing import ProbeResult
    from tune.records.models import FoundModel

app = typer.Typer(cls=Group)
log = logging.getLogger(__name__)


@app.command(cls=Command)
def probe(
    model: Model,
    words: Annotated[
        list[str] | None,
        words_argument("", "Settings of the probe: sentences, edits, unsent, labels, encoder, earlier, seed."),
    ] = None,
    suite: Annotated[str | None, typer.Option(metavar="SUITE", help="quick (default) or full.")] = None,
    split: Annotated[str | None, typer.Option(metavar="SPLIT", help="validation (default) or test.")] = None,
    against: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Compare control with another model's, on the same edits.")
    ] = None,
    into: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder to write to; default: one of the state folder.")
    ] = None,
    state: State = None,
) -> int:
    """Measure what a trained model's codes say and control.

    Writes probe.html and probe.json, and adds them to the MLflow run of a model that has one.
    Exit status 1: there was nothing to measure.
    """
    from tune.records.models import find_model

    home = state_dir(state)
    found = find_model(model, home)
    from t5vqvae.spec.probe import ProbeSpec
    from tune.report.probe_comparison import refuse_another_corpus, with_comparison
    from tune.report.probe_report import folder_of, probe_model, summary, write_probe

    spec = ProbeSpec.parse(_settings(words or [], suite=suite, split=split))
    other = None if against is None else find_model(against, home)
    if other is not None:
        refuse_another_corpus(found, other, against or "")
    folder = into or folder_of(found, spec, home, other)
    folder = writable(folder, "{} cannot be written: {}; name another folder by --into")
    result, claims = probe_model(found, spec, home / "cache"), list[str]()
    if other is not None:
        result, claims = with_comparison(result, found, other, spec, home / "cache")
    print("\n".join([summary(result, spec), *claims]))
    files = write_probe(result, found, spec, folder)
    _track(found, home, result, files, on_test=spec.split == "test")
    print(*files, sep="\n")
    return 0 if result.metrics else NOTHING_WORKED


def _settings(words: Sequence[str], **options: str | None) -> dict[str, object]:
    """Returns the settings that words and options give.

    Raises:
        SettingError: If a word and the option of its name give different values.
    """
    settings: dict[str, object] = parse_words(list(words))
    for name, value in options.items():
        if value is not None and settings.setdefault(name, value) != value:
            raise SettingError(f"--{name} {value} and {name}={settings[name]} differ; give one of them")
    return settings


def _track(found: FoundModel, state: Path, result: ProbeResult, files: Sequence[Path], on_test: bool) -> None:
    """Adds a probe to the model's MLflow run; a server that is away costs the probe nothing."""
    from t5vqvae.stages import stage
    from tune.records.tracked_model import add_probe

    try:
        with stage("adding the probe to MLflow"):
            where = add_probe(found, state, result.metrics, files, on_test)
    except TrackingError as error:
        log.warning("the probe is not in MLflow: %s; run the command again to add it", error)
        return
    if where is not None:
        print(f"added to {where}")
