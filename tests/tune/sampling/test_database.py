"""Optuna's storage in PostgreSQL: suggestions as from a file, many studies a database, no password out."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import optuna
import pytest
from postgres import PASSWORD, Server, postgres
from suggested import metrics, run, study

from t5vqvae.errors import EnvironmentFault, SettingError
from t5vqvae.machine_errors import environment_fault
from tune.records.record import TrialRecord
from tune.records.study_paths import StudyPaths
from tune.sampling.database import Database, database_of
from tune.sampling.resume import resumed
from tune.sampling.storage import copied_storage
from tune.sampling.suggestions import Suggestions
from tune.spec.search_spec import SearchSpec

SLOW = pytest.mark.slow  # they share a server, whose start takes seconds


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres() as server:
        yield server


@pytest.fixture
def address(server: Server, request: pytest.FixtureRequest) -> str:
    return server.address(f"t{abs(hash(request.node.name))}")


def numbers(suggestions: Suggestions) -> list[tuple]:
    found = suggestions.trials()
    return [
        (trial.number, trial.state, trial.values, trial.params, trial.user_attrs, trial.constraints, dict(history))
        for trial in found
        for history in [trial.intermediate_values]
    ]


@SLOW
@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_database_suggests_what_a_file_does_and_a_kill_between_trials_changes_nothing(address, tmp_path, sampler):
    spec = study(sampler={"name": sampler})
    file = Suggestions(spec, tmp_path / "optuna.journal")
    wanted = run(file, 6)
    pieces = [overrides for _ in range(6) for overrides in run(Suggestions(spec, Database(address, "tiny-1")), 1)]
    assert pieces == wanted
    assert numbers(Suggestions(spec, Database(address, "tiny-1"))) == numbers(file)


@SLOW
def test_a_trial_under_way_at_a_kill_is_given_again_with_its_settings_and_reports(address):
    place = Database(address, "tiny-1")
    dead = Suggestions(study(), place)
    run(dead, 2)
    trial = dead.next()
    dead.report(trial.number, metrics(50))
    heir = Suggestions(study(), place)
    again = heir.next()
    assert (again.number, again.overrides) == (trial.number, trial.overrides)
    heir.report(again.number, metrics(50, nll=9.0))
    assert heir.trials()[again.number].intermediate_values == {50: 0.5}


@SLOW
def test_two_studies_of_one_name_keep_apart_and_optuna_s_own_tools_read_both(server, address, tmp_path):
    spec = study(storage=address)
    here, there = (StudyPaths(tmp_path / name, "tiny") for name in ("here", "there"))
    for paths, count in ((here, 3), (there, 2)):
        run(resumed(spec, paths, {}), count)
    names = {database_of(spec, paths).study for paths in (here, there)}
    assert set(optuna.get_all_study_names(address.replace("postgresql", "postgresql+psycopg"))) == names
    assert len(names) == 2 and all(name.startswith("tiny-") for name in names)
    stored = "\n".join(server.texts(address.rpartition("/")[2]))
    assert PASSWORD not in stored and names <= set(stored.replace("(", ",").replace(")", ",").split(","))
    lengths = [len(Suggestions(spec, database_of(spec, paths)).trials()) for paths in (here, there)]
    assert lengths == [3, 2]
    copy = copied_storage(database_of(spec, here))
    assert len(optuna.load_study(study_name=database_of(spec, here).study, storage=copy).trials) == 3


@SLOW
def test_drivers_that_make_the_tables_at_once_do_not_disturb_each_other(address):
    with ThreadPoolExecutor(4) as pool:  # each has a connection of its own, as another process has
        storages = list(pool.map(lambda number: Database(address, f"s{number}").open(), range(4)))
    assert all(storage.get_all_studies() == [] for storage in storages)


@SLOW
def test_what_contradicts_the_records_is_kept_under_another_name_and_made_anew(address, tmp_path, capsys):
    spec, paths = study(storage=address), StudyPaths(tmp_path, "tiny")
    place = database_of(spec, paths)
    first = Suggestions(spec, place)
    run(first, 2)
    other = {**first.spec.space.read(first.trials()[1].params, spec.base_values), "quantizer.decay": 0.81}
    record = TrialRecord("tiny", 1, other, None, None, "completed", 100, metrics())
    baseline = TrialRecord(
        "tiny", 0, {"quantizer.codebook_size": 256, "quantizer.decay": 0.99}, None, None, "completed", 100, metrics()
    )
    again = resumed(spec, paths, {0: baseline, 1: record})
    assert again.trials()[1].params["quantizer.decay"] == 0.81
    said = capsys.readouterr().err
    assert "contradicts the record of trial 1; set aside" in said and PASSWORD not in said
    assert place.study + ".damaged" in optuna.get_all_study_names(place.open())


@SLOW
def test_a_password_may_come_from_the_environment_and_is_never_written(address, tmp_path, monkeypatch):
    spec, paths = study(storage=address), StudyPaths(tmp_path, "tiny")
    spec.write(paths.spec)
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and PASSWORD in file.read_text()]
    kept = SearchSpec.read(paths.spec)
    assert kept.storage == address.replace(f"keeper:{PASSWORD}@", "")
    with pytest.raises(EnvironmentFault) as caught:
        database_of(kept, paths).open()
    assert "\n" not in str(caught.value) and str(caught.value).startswith(f"storage={kept.storage}: PostgreSQL: ")
    monkeypatch.setenv("OPTUNA_STORAGE", address)
    database_of(kept, paths).open()
    assert PASSWORD not in str(database_of(kept, paths))


@SLOW
def test_a_server_that_goes_away_ends_a_driver_in_one_line_and_the_next_goes_on(server, address, tmp_path):
    wanted = run(Suggestions(study(), tmp_path / "optuna.journal"), 6)
    place = Database(address, "tiny-1")
    driver = Suggestions(study(), place)
    found = run(driver, 3)
    server.stop()
    try:
        with pytest.raises(optuna.exceptions.StorageInternalError) as caught:
            driver.next()
    finally:
        server.start()
    fault = environment_fault(caught.value)
    assert fault is not None and str(fault).startswith("PostgreSQL: ") and "the same command resumes" in str(fault)
    assert "\n" not in str(fault) and PASSWORD not in str(fault)
    assert found + run(Suggestions(study(), place), 3) == wanted


@pytest.mark.parametrize(
    "address", ["mysql://u:hunter2@h/d", "postgresql:/u:hunter2@h/d", "optuna.db", "postgresql://"]
)
def test_another_address_is_refused_in_one_line_without_its_password(address):
    with pytest.raises(SettingError, match="must be postgresql://user@host/database") as caught:
        study(storage=address)
    assert "hunter2" not in str(caught.value) and "\n" not in str(caught.value)


def test_a_server_that_is_away_is_one_line():
    with pytest.raises(
        EnvironmentFault, match=r"storage=postgresql://127.0.0.1:9/x: PostgreSQL: .*refused.*resumes"
    ) as e:
        Database("postgresql://u:hunter2@127.0.0.1:9/x", "s").open()
    assert "hunter2" not in str(e.value) and "\n" not in str(e.value)
