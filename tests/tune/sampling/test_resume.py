"""A study in Optuna is resumed from its records: after a lost, damaged or foreign database, and after lost records."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from suggested import metrics, run, score, study

from t5vqvae.errors import UserError
from t5vqvae.training import checkpoint
from tune.records.record import TrialRecord, read_records
from tune.records.study_paths import StudyPaths
from tune.sampling.resume import resumed
from tune.sampling.suggestions import Suggestions
from tune.sampling.warm_start import warm_start
from tune.spec.search_spec import SearchSpec

TRIALS = 8
ENDS = ["completed", "pruned", "completed", "diverged", "failed", "completed"]


def spec_of(**changes: object) -> SearchSpec:
    return study(budget={"trials": TRIALS}, **changes)


def ended(suggestions: Suggestions, paths: StudyPaths, count: int) -> dict[int, TrialRecord]:
    """Ends trials in Optuna and writes their records, as the recorder does."""
    found = {}
    for _ in range(count):
        trial = suggestions.next()
        assert trial is not None
        status = ENDS[trial.number % len(ENDS)]
        history = {"50": metrics(50, nll=2.0), "100": metrics(100, nll=score(dict(trial.overrides)))}
        last = {} if status == "diverged" else history["100"]
        for values in history.values():
            suggestions.report(trial.number, values)
        suggestions.end(trial.number, status, last)
        found[trial.number] = TrialRecord(
            "tiny", trial.number, dict(trial.overrides), None, None, status, 100, last, history=history
        )
        found[trial.number].write(paths.trial(trial.number))
    return found


def as_stored(suggestions: Suggestions) -> list[tuple]:
    return [(t.state.name, t.params, t.values, t.intermediate_values) for t in suggestions.trials()]


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:5000])


def flipped(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[content.rindex(b'"param_value_internal":') + 24] ^= 1
    file.write_bytes(bytes(content))


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def of_optunas_own_format(file: Path) -> None:
    import optuna

    file.unlink()
    optuna.create_study(study_name="tiny", storage=f"sqlite:///{file}")


def of_another_study(file: Path) -> None:
    file.unlink()
    run(Suggestions(study(name="other"), file), 3)


def with_a_hole(file: Path) -> None:
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:9] + lines[10:]))


DAMAGES: list[Callable[[Path], None]] = [
    Path.unlink, cut, flipped, emptied, of_optunas_own_format, of_another_study, with_a_hole,
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_lost_database_is_made_anew_from_the_records(
    tmp_path: Path, damage: Callable[[Path], None], sampler: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spec, paths = spec_of(sampler={"name": sampler}), StudyPaths(tmp_path, "tiny")
    first = Suggestions(spec, paths.storage)
    records = ended(first, paths, 6)
    before = as_stored(first)
    following = [first.next(), first.next()]
    first.storage.journal._file.close()  # type: ignore[attr-defined]
    damage(paths.storage)
    heir = resumed(spec, paths, dict(records))
    said = capsys.readouterr().err
    assert str(paths.storage) in said and "from" in said
    assert as_stored(heir)[:6] == before
    assert [heir.next(), heir.next()] == following, "the search goes on as it would have"
    assert heir.next() is None


def test_a_running_trial_keeps_the_settings_of_its_checkpoint(tmp_path: Path) -> None:
    spec, paths = spec_of(), StudyPaths(tmp_path, "tiny")
    first = Suggestions(spec, paths.storage)
    records = ended(first, paths, 2)
    running = [first.next(), first.next()]
    for trial in running:
        assert trial is not None
        folder = checkpoint.path_of(paths.trial(trial.number), 50)
        checkpoint.write(folder, spec.run_spec(trial.overrides), checkpoint.no_milestone(), lambda folder: None)
    for file in paths.root.glob("optuna.*"):
        file.unlink()
    heir = resumed(spec, paths, records)
    assert [heir.next(), heir.next()] == running


@pytest.mark.parametrize("number", [0, 2, 4])
def test_an_ended_trial_without_a_record_is_opened_again(
    tmp_path: Path, number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    spec, paths = spec_of(), StudyPaths(tmp_path, "tiny")
    records = ended(Suggestions(spec, paths.storage), paths, 6)
    lost = records.pop(number)
    heir = resumed(spec, paths, records)
    before = as_stored(heir)
    again = heir.next()
    assert again is not None and (again.number, again.overrides) == (number, lost.overrides)
    heir.report(number, metrics(100))
    heir.end(number, "completed", metrics(100))
    assert as_stored(heir) == before, "Optuna has its end already"
    assert f"trial {number} of tiny has ended and has no record; it is opened again" in capsys.readouterr().err
    assert [trial and trial.number for trial in (heir.next(), heir.next(), heir.next())] == [6, 7, None]


@pytest.mark.parametrize(("number", "status"), [(1, "pruned"), (3, "diverged")])
def test_a_stopped_trial_without_a_record_gets_one_and_can_never_win(tmp_path: Path, number: int, status: str) -> None:
    spec, paths = spec_of(), StudyPaths(tmp_path, "tiny")
    records = ended(Suggestions(spec, paths.storage), paths, 6)
    lost = records.pop(number)
    shutil.rmtree(paths.trial(number))
    heir = resumed(spec, paths, records)
    assert records[number] == read_records(paths.trials)[number]
    assert (records[number].status, records[number].overrides) == (status, lost.overrides)
    following = heir.next()
    assert following is not None and following.number == 6


def test_records_and_database_lost_together_are_found_in_the_checkpoint(tmp_path: Path) -> None:
    spec, paths = spec_of(), StudyPaths(tmp_path, "tiny")
    records = ended(Suggestions(spec, paths.storage), paths, 6)
    lost = records.pop(2)
    folder = checkpoint.path_of(paths.trial(2), 100)
    checkpoint.write(folder, spec.run_spec(lost.overrides), checkpoint.no_milestone(), lambda folder: None)
    for file in (*paths.root.glob("optuna.*"), paths.trial(2) / "record.json"):
        file.unlink()
    heir = resumed(spec, paths, records)
    again = heir.next()
    assert again is not None and (again.number, again.overrides) == (2, lost.overrides)


def test_evidence_is_no_trial_of_a_study_that_is_made_anew(tmp_path: Path) -> None:
    other = StudyPaths(tmp_path, "other")
    wider = study(name="other", budget={"trials": 4})
    wider.write(other.spec)
    for record in ended(Suggestions(wider, other.storage), other, 4).values():
        replace(record, study="other").write(other.trial(record.number))
    spec, paths = spec_of(), StudyPaths(tmp_path, "tiny")
    first = Suggestions(spec, paths.storage)
    warm_start(first, other.root)
    assert first.evidence == (1, 2)
    records = ended(first, paths, 3)
    for file in paths.root.glob("optuna.*"):
        file.unlink()
    heir = resumed(spec, paths, records, (1, 2))
    warm_start(heir, other.root)
    asked = [heir.next() for _ in range(6)]
    assert [trial is None for trial in asked] == [False] * 5 + [True], "eight trials in all, as asked"
    assert not {trial.number for trial in asked if trial} & {*records, 1, 2}


def test_a_record_outside_the_space_is_refused_in_one_line(tmp_path: Path) -> None:
    spec, paths = spec_of(), StudyPaths(tmp_path, "tiny")
    records = ended(Suggestions(spec, paths.storage), paths, 2)
    records[1] = replace(records[1], overrides={**records[1].overrides, "quantizer.codebook_size": 9000})
    with pytest.raises(UserError, match=r"outside its space \(quantizer.codebook_size=9000\)") as caught:
        resumed(spec, paths, records)
    assert "\n" not in str(caught.value)
