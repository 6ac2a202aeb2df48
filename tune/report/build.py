"""Builds and writes the report of a search or an ablation from its records."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from t5vqvae.disk import writable
from t5vqvae.errors import SettingError, TrackingError
from t5vqvae.stages import duration
from t5vqvae.tracking import Tracker
from tune.ablation.ablation_spec import AblationSpec
from tune.ablation.findings import Findings, write_parquet
from tune.ablation.history import read_findings
from tune.analysis import cost
from tune.records.copies import StudyCopies
from tune.records.ranking import best, contenders
from tune.records.record import TrialRecord
from tune.records.study import Study
from tune.records.study_paths import StudyPaths
from tune.report.ablation_report import AblationReport
from tune.report.search_report import SearchReport
from tune.spec.search_spec import SearchSpec
from tune.spec.study_spec import StudySpec


def search_report(
    spec: SearchSpec,
    records: Sequence[TrialRecord],
    urls: Mapping[int, str] | None = None,
    url: str | None = None,
    progress: str = "",
) -> SearchReport:
    """Returns the report of a search.

    Args:
        spec: The study.
        records: Its ended trials.
        urls: The page of each trial's run, by number.
        url: The page of the study's parent run.
        progress: How far it is, in a sentence, while trials are left.
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
        cost=cost(trials, workers * spec.resources.cpus, workers * spec.resources.first_gpus),
        baseline=next((record.number for record in records if _is_baseline(record, spec)), None),
        space=spec.space.distributions,
        urls=urls or {},
        url=url,
        notes=notes,
        counting=frozenset(record.number for record in contenders(records, spec)),
        progress=progress,
    )


def progress_sentence(study: Study) -> str:
    """Returns how far a study is, such as `6 of 8 trials have ended, 2 are running`; empty at its end."""
    progress, trials = study.progress(), study.unfinished.values()
    if progress.state == "finished" or progress.planned == progress.done:
        return ""
    of = "" if progress.planned is None else f" of {progress.planned}"
    line = f"{progress.done}{of} trials have ended"
    running = sum(trial.status == "running" for trial in trials)
    if progress.state == "running":
        left = "" if progress.left is None else f", about {duration(progress.left)} left"
        return f"{line}, {running} {'is' if running == 1 else 'are'} running{left}: what follows is of the ended ones."
    return f"{line}, and nothing runs: the command that started the study resumes it."


def ablation_report(
    findings: Findings, notes: Sequence[str] = (), tracker: Tracker | None = None, parent_id: str | None = None
) -> AblationReport:
    """Returns the report of an ablation.

    Args:
        findings: Its plan and the records of its runs.
        notes: Remarks in addition to those of the plan.
        tracker: The tracker of its runs; None if they are not tracked.
        parent_id: The id of the study's run there.
    """
    found = findings
    if tracker is not None:
        urls = {n: tracker.url(record.mlflow_id) for n, record in found.records.items() if record.mlflow_id}
        found = replace(found, urls={number: url for number, url in urls.items() if url is not None})
    return AblationReport(
        name=found.spec.name,
        question=found.spec.question,
        comparison=found.comparison(),
        questions={arm.name: arm.question for arm in found.arms},
        overrides={arm.name: arm.overrides for arm in found.arms},
        tuned=found.tuned,
        effects=found.effects(),
        levels=found.levels(),
        notes=[*found.notes(), *notes],
        cost=found.cost(),
        url=tracker.url(parent_id) if tracker is not None and parent_id else None,
    )


def _is_baseline(record: TrialRecord, spec: SearchSpec) -> bool:
    return spec.base_spec.allows(record.overrides) and spec.run_spec(record.overrides) == spec.base_spec


def _urls(spec: SearchSpec | AblationSpec, records: Sequence[TrialRecord]) -> dict[int, str]:
    """Returns the addresses of trials in MLflow; none without a server that answers, because a report needs none."""
    uri = spec.tracking.uri or os.environ.get("MLFLOW_TRACKING_URI") or ""
    if not uri.startswith("http"):
        return {}
    try:
        tracker = Tracker(uri, spec.tracking.experiment or spec.name)
        tracker.check()
        tracker.destination.find_or_create()
        found = {record.number: tracker.url(record.mlflow_id) for record in records if record.mlflow_id}
    except TrackingError:
        return {}
    return {number: url for number, url in found.items() if url is not None}


def write_report(
    paths: StudyPaths, folder: Path, copies: StudyCopies | None = None, *, light: bool = False
) -> list[Path]:
    """Writes the report of a search or an ablation; returns its files.

    Args:
        paths: The study.
        folder: Where to write; a report in the study's folder is copied to its address, too.
        copies: Where the study was fetched from; None: the address of its spec counts.
        light: Whether pages leave Plotly to the internet.

    Raises:
        SettingError: If none of its trials has ended, or the folder cannot be written.
    """
    writable(folder, "--into {} cannot be written: {}; name another folder")  # before what takes seconds
    write = _write_ablation if paths.ablation.exists() else _write_search
    spec, files = write(paths, folder, light)
    copies = copies or StudyCopies.of(spec, paths)
    if copies is not None and folder.is_relative_to(paths.root):
        copies.add(files)
    return files


def _write_search(paths: StudyPaths, folder: Path, light: bool) -> tuple[StudySpec, list[Path]]:
    study = Study.load(paths.study, paths.state)
    records = list(study.records.values())
    if not records:
        raise SettingError(f"no trial of study {paths.study} has ended yet; search it first")
    spec = SearchSpec.read(paths.spec)
    report = search_report(spec, records, _urls(spec, records), progress=progress_sentence(study))
    return spec, report.write(folder, light=light)


def _write_ablation(paths: StudyPaths, folder: Path, light: bool) -> tuple[StudySpec, list[Path]]:
    findings, notes = read_findings(paths)
    urls = _urls(findings.spec, list(findings.records.values()))
    report = ablation_report(replace(findings, urls=urls), notes)
    files = [*report.write(folder, light=light), write_parquet(findings.table(), folder / "runs.parquet")]
    return findings.spec, files
