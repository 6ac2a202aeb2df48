"""A search ends by saying where its report is and what comes next; a finished one says so when it is started again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from kept_studies import keep_study, record

from tune.cli import main
from tune.operations.search_end import next_command
from tune.records.ranking import best, pareto
from tune.records.record import read_records
from tune.records.study_paths import StudyPaths
from tune.search import SearchResult
from tune.spec.search_spec import SearchSpec


@pytest.fixture
def search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Starts the search of a kept study, which ends further trials as Ray would; returns what was printed."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def start(paths: StudyPaths, new: tuple[int, ...] = (), stopped: str | None = None, status: int = 0) -> list[str]:
        def run(spec: SearchSpec, **_: object) -> SearchResult:
            for number in new:
                record(paths.study, number).write(paths.trial(number))
            found = read_records(paths.trials)
            return SearchResult(spec.name, found, best(found, spec), pareto(found, spec), None, stopped)

        monkeypatch.setattr("tune.search.search", run)
        file = tmp_path / "kept.yaml"
        file.write_text(yaml.safe_dump(SearchSpec.read(paths.spec).as_dict()))
        assert main(["search", str(file), "--state", str(paths.state)]) == status
        return capsys.readouterr().out.splitlines()

    return start


def test_the_last_lines_say_where_the_report_is_and_what_comes_next(tmp_path: Path, search: Any) -> None:
    paths = keep_study(tmp_path / "state of it", ended=1)
    lines = search(paths, new=(1, 2, 3))
    page = paths.root / "report" / "report.html"
    assert lines == [
        f"report: {page}",
        f"next: t5vqvae trials kept --best 5 --state '{paths.state}'  # the best trials",
        f"      t5vqvae promote kept --state '{paths.state}'  # test trial 1 and register it",
    ]
    assert "Which rate learns?" in page.read_text()


def test_a_finished_study_started_again_says_so(tmp_path: Path, search: Any) -> None:
    paths = keep_study(tmp_path / "state")
    first = search(paths)
    assert first[0] == "4 of 4 done, best trial 1; --trials +N extends"
    written = (paths.root / "report" / "report.html").stat().st_mtime_ns
    assert search(paths) == first
    assert (paths.root / "report" / "report.html").stat().st_mtime_ns == written, "nothing was new"


def test_without_a_best_trial_the_log_comes_next(tmp_path: Path, search: Any) -> None:
    paths = keep_study(tmp_path / "state", trials=1, ended=0)
    replace(record("kept", 3), number=0).write(paths.trial(0))  # too many bits
    lines = search(paths)
    assert lines[0] == "1 of 1 done, no trial counts as best; --trials +N extends"
    assert lines[-1].startswith("next: t5vqvae logs kept") and "promote" not in " ".join(lines)


def test_a_search_that_a_signal_stopped_writes_no_report(tmp_path: Path, search: Any) -> None:
    paths = keep_study(tmp_path / "state", ended=1)
    lines = search(paths, stopped="it received SIGTERM", status=130)
    assert lines == ["stopped because it received SIGTERM; run the same command again to resume"]
    assert not (paths.root / "report").exists()


def test_a_command_names_the_state_folder_where_the_user_did() -> None:
    assert next_command("report a", None) == "t5vqvae report a"
    assert next_command("report a", Path("/x y")) == "t5vqvae report a --state '/x y'"
