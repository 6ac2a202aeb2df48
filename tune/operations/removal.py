"""What removing a study takes away, and what forbids it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

from t5vqvae.disk import shown, size_of
from t5vqvae.errors import SettingError
from t5vqvae.stages import stage
from tune.monitor.exporter import snapshot, target
from tune.records.fresh_runs import key_of, read_fresh
from tune.records.record import read_records
from tune.records.study_paths import StudyPaths
from tune.records.study_tracker import stored_tracking, tracking_uri

if TYPE_CHECKING:
    from t5vqvae.tracking import Tracker


def contents(paths: StudyPaths) -> list[dict[str, object]]:
    """Returns what lies in a study's folder: what, how many, and how large."""
    records = read_records(paths.trials)
    checkpoints = [*paths.trials.glob("*/step-*"), *paths.fresh.glob("*/step-*")]
    report = paths.root / "report"
    files = [path for path in report.rglob("*") if path.is_file()] if report.is_dir() else []
    total, large = size_of(paths.root), sum(map(size_of, checkpoints))
    reported = size_of(report) if files else 0
    rows = [
        ("records of trials", len(records), total - large - reported),
        ("checkpoints", len(checkpoints), large),
        ("files of the report", len(files), reported),
        ("in all", None, total),
    ]
    return [{"what": what, "number": number, "size": shown(size), "bytes": size} for what, number, size in rows]


def refuse_champion(paths: StudyPaths) -> None:
    """Refuses to remove the study of a registered model's champion.

    Raises:
        SettingError: If a champion is of this study.
        TrackingError: If MLflow cannot be reached, so that it is unknown.
    """
    from t5vqvae.tracking import Tracker
    from t5vqvae.tracking.server.addresses import sqlite_file

    uri = tracking_uri(paths.state, stored_tracking(paths).get("uri"))
    file = sqlite_file(uri)
    if file is not None and not file.exists():
        return  # nothing was ever promoted
    with stage("asking MLflow for champions"):
        tracker = Tracker(uri, paths.study)
        tracker.check()
        found = list(_champions(tracker, paths))
    if found:
        raise SettingError(
            f"study {paths.study} is the source of {found[0]}, whose settings and scores lie in it; promote another"
            " study first, or take the alias away in MLflow"
        )


def _champions(tracker: Tracker, paths: StudyPaths) -> Iterator[str]:
    """Yields the champions that come from a study, each in words."""
    from t5vqvae.tracking.server.model_registry import IDENTITY, versions_by_alias
    from tune.promotion.champion import CHAMPION

    records = [*read_records(paths.trials), *read_fresh(paths)]
    runs = {own for r in records for own in (r.mlflow_id, r.run_id, key_of(r)) if own}
    for name, version in versions_by_alias(tracker.destination, CHAMPION):
        if {version.mlflow_id, version.tags.get(IDENTITY)} & runs:
            yield f"models:/{name}@{CHAMPION} (version {version.version}, trial {version.tags.get('trial', '?')})"


def delete(paths: StudyPaths) -> None:
    """Deletes a study's folder and its files for Prometheus; a kill in between leaves no half of a study.

    Raises:
        UserError: If it runs.
    """
    gone = paths.root.with_name(f".removed-{paths.study}")
    shutil.rmtree(gone, ignore_errors=True)
    with paths.locked():
        for file in (snapshot(paths), target(paths)):  # else later drivers would go on showing its numbers
            file.unlink(missing_ok=True)
        paths.root.rename(gone)
    shutil.rmtree(gone)
