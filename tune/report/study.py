"""`t5vqvae report STUDY`: the report of a search from its own records, written into the study's folder."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from t5vqvae.errors import SettingError, TrackingError, UserError
from t5vqvae.tracking import Tracker
from tune.analysis import cost
from tune.record import TrialRecord, best, read_records
from tune.report.search import SearchReport
from tune.state import StudyPaths, state_dir
from tune.study import SearchSpec


def search_report(
    spec: SearchSpec, records: Sequence[TrialRecord], urls: Mapping[int, str] | None = None, url: str | None = None
) -> SearchReport:
    """Returns the report of a search.

    Args:
        spec: The study.
        records: Its ended trials.
        urls: Where each trial's run is shown, by number.
        url: Where the study's parent run is shown.
    """
    winner, workers = best(records, spec), spec.resources.workers
    notes = [f"constraint: {constraint}" for constraint in spec.constraints]
    notes += [f"further objective: {other.direction} {other.metric}" for other in spec.objectives[1:]]
    trials = [asdict(record) for record in records]
    return SearchReport(
        name=spec.name,
        question=spec.question,
        trials=trials,
        metric=spec.objectives[0].metric,
        direction=spec.objectives[0].direction,
        best=None if winner is None else winner.number,
        cost=cost(trials, workers * spec.resources.cpus, workers * spec.resources.gpus),
        baseline=next((record.number for record in records if _is_baseline(record, spec)), None),
        space=spec.space.distributions,
        urls=urls or {},
        url=url,
        notes=notes,
    )


def _is_baseline(record: TrialRecord, spec: SearchSpec) -> bool:
    return spec.run_spec(record.overrides) == spec.base_spec


def _urls(spec: SearchSpec, records: Sequence[TrialRecord]) -> dict[int, str]:
    """Returns where trials are shown, if a tracking server is named and answers; a report needs none."""
    uri = spec.tracking.uri or os.environ.get("MLFLOW_TRACKING_URI") or ""
    if not uri.startswith("http"):
        return {}
    tracker = Tracker(uri, spec.tracking.experiment or spec.name)
    try:
        tracker.check()
        tracker.destination.find_or_create()
        found = {record.number: tracker.url(record.mlflow_id) for record in records if record.mlflow_id}
    except TrackingError:
        return {}
    return {number: url for number, url in found.items() if url is not None}


def read_search(name: str, state: Path) -> tuple[SearchSpec, list[TrialRecord]]:
    """Reads a search and its ended trials from the state folder.

    Raises:
        SettingError: If there is no such study, or none of its trials has ended.
    """
    paths = StudyPaths(state, name)
    if not paths.spec.exists():
        known = sorted(path.parent.name for path in paths.root.parent.glob("*/study.json"))
        raise SettingError(f"there is no study {name} under {paths.root.parent}; known: {', '.join(known) or 'none'}")
    records = read_records(paths.trials)
    if not records:
        raise SettingError(f"no trial of study {name} has ended yet; search it first")
    return SearchSpec.read(paths.spec), records


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns its exit status, 2 for what was refused."""
    parser = argparse.ArgumentParser(prog="t5vqvae report", description=__doc__)
    parser.add_argument("study", help="name of a search")
    parser.add_argument("--into", type=Path, help="folder to write to; default: report/ in the study's folder")
    parser.add_argument("--state", type=Path, help="state folder")
    options = parser.parse_args(arguments)
    state = state_dir(options.state)
    try:
        spec, records = read_search(options.study, state)
        report = search_report(spec, records, _urls(spec, records))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    for path in report.write(options.into or StudyPaths(state, options.study).root / "report"):
        print(path)
    return 0
