"""Probes a trained model and writes what was found: a summary, one HTML page, JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from t5vqvae.evaluation.metrics import METRICS
from t5vqvae.files import digest, write_json
from t5vqvae.spec.probe import CODE_MAP, EDIT_CHANGES, PATHS
from tune.monitor.formats import html_text
from tune.records.loading import loaded_model
from tune.report.codebook_figure import code_map_figure
from tune.report.edit_figure import CAPTION, edit_changes_figure
from tune.report.marked_texts import EDITS, STEPS, marked, side_by_side
from tune.report.page import Section, listing, page, table

if TYPE_CHECKING:
    from t5vqvae.measures.base import Cell, Row
    from t5vqvae.measures.probing import ProbeResult
    from t5vqvae.spec.probe import ProbeSpec
    from tune.records.models import FoundModel


def probe_model(found: FoundModel, spec: ProbeSpec, cache_dir: Path) -> ProbeResult:
    """Loads a model and probes it."""
    from t5vqvae.measures.probing import probe
    from t5vqvae.training.progress_bars import without_progress_bars
    from t5vqvae.training.threads import free_threads, use_threads
    from tune.records.models import say_of_other_data

    use_threads(free_threads())
    say_of_other_data(found, cache_dir)
    with without_progress_bars():  # of the further checkpoints that a probe may read
        return probe(loaded_model(found.folder), found.spec, spec, cache_dir)


def summary(result: ProbeResult, spec: ProbeSpec) -> str:
    """Returns the metrics as lines, one a metric, with unit and meaning; and what was not measured."""
    width = max(map(len, result.metrics), default=0)
    lines = [f"{key:{width}}  {value:8.4f}  {METRICS[key].units}" for key, value in result.metrics.items()]
    return "\n".join([*lines, *_absent(result, spec)])


_SETTINGS = {"drift": "earlier", "path_states": "encoder", "labels": "labels"}
"""Settings without which a measure has nothing to read."""


def _absent(result: ProbeResult, spec: ProbeSpec) -> list[str]:
    """Returns a line about the measures whose setting is missing, and one about the others that found nothing."""
    without = [name for name in result.absent if name in _SETTINGS and getattr(spec, _SETTINGS[name]) is None]
    others = [name for name in result.absent if name not in without]
    lines = []
    if without:
        named = ", ".join(f"{name} ({_SETTINGS[name]}=...)" for name in without)
        lines.append(f"not measured, as their settings were not given: {named}")
    if others:
        lines.append(
            f"nothing to measure here: {', '.join(others)} (this model, corpus or number of sentences has none)"
        )
    return lines


def folder_of(found: FoundModel, spec: ProbeSpec, state: Path, other: FoundModel | None = None) -> Path:
    """Returns the folder of a probe's files: the same for the same model, spec and other model."""
    beside = [] if other is None else [str(other.folder)]
    return state / "probes" / digest(str(found.folder), spec.as_dict(), *beside)[:16]


def write_probe(result: ProbeResult, found: FoundModel, spec: ProbeSpec, folder: Path) -> list[Path]:
    """Writes `probe.html` and `probe.json` into a folder, and returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    values = {
        "model": found.origin,
        "probe": spec.as_dict(),
        "metrics": dict(result.metrics),
        "tables": {title: list(rows) for title, rows in result.tables.items()},
        "absent": list(result.absent),
    }
    write_json(folder / "probe.json", values, indent=1)
    (folder / "probe.html").write_text(_page(result, found, spec), encoding="utf-8")
    return [folder / "probe.html", folder / "probe.json"]


def _page(result: ProbeResult, found: FoundModel, spec: ProbeSpec) -> str:
    since = "" if spec.earlier is None else f"; drift since {html_text(spec.earlier)}"
    settings = f"{spec.split} split, suite {spec.suite}, seed {spec.seed}{since}"
    head = f"<h1>Probe</h1>\n<p>{html_text(found.origin)}; {settings}.</p>"
    values = [[key, f"{value:.4f}", METRICS[key].units] for key, value in result.metrics.items()]
    meanings = listing([f"{key}: {METRICS[key].description}" for key in result.metrics])
    measured = table(["metric", "value", "unit"], values)
    absent = "".join(f"<p>{html_text(line[0].upper() + line[1:])}.</p>" for line in _absent(result, spec))
    sections = [Section("", head), Section("Metrics", measured + absent)]
    sections += [_section(title, rows) for title, rows in result.tables.items() if rows]
    sections.append(Section("What the metrics mean", meanings))
    return page(f"Probe of {found.origin}", sections)


def _section(title: str, rows: Sequence[Row]) -> Section:
    if title == CODE_MAP:
        caption = "Codes in use by their two main directions, coloured by the role of their most frequent word."
        return Section(title, figures=((caption, code_map_figure(rows)),))
    if title == EDIT_CHANGES:
        return Section(title, figures=((CAPTION, edit_changes_figure(rows)),))
    about = STEPS if title == PATHS else EDITS if any(_is_marked(rows[0], name) for name in rows[0]) else ""
    shown = side_by_side(rows) if title == PATHS else _table(rows)
    return Section(title, (f"<p>{about}</p>" if about else "") + shown)


def _table(rows: Sequence[Row]) -> str:
    head = list(rows[0])
    numeric = next((place for place, name in enumerate(head) if isinstance(rows[0][name], int | float)), len(head))
    return table(head, [[_cell(row, name) for name in head] for row in rows], numeric_from=numeric)


def _is_marked(row: Mapping[str, Cell], name: str) -> bool:
    return name in ("answer", "decoded") and "source" in row


def _cell(row: Mapping[str, Cell], name: str) -> str:
    value = row[name]
    if _is_marked(row, name):
        return marked(str(value), str(row["source"]))
    return f"{value:.3f}" if isinstance(value, float) else "" if value is None else html_text(value)
