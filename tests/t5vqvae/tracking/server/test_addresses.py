"""An address that cannot work is refused in one line, at once and without its password; a path may hold anything."""

from __future__ import annotations

import shutil
import sqlite3
import time
from pathlib import Path

import pytest
from tracking_runs import METRICS, open_trial

from t5vqvae.errors import TrackingError
from t5vqvae.tracking import Tracker
from t5vqvae.tracking.server.addresses import resolve, sqlite_file, sqlite_uri

ODD = ["a b", "100%", "x?y", "x#y", "x@y", "x:y", "ünï", "a%2Fb", "a%20b", "q'uo\"te"]
ODD += ["x&y=z;", "[x]", "+p", "a\\b", "x?y#z%"]

MALFORMED = {
    "http://u:hunter2@[bad": r"http://\[bad is no address",
    "http://": "is no address",
    "http://u:hunter2@": "is no address",
    "http://u:hunt/er2@host": "is no address",
    "http://host:port": "is no address",
    "http://host:99999": "is no address",
    "http://ho st": "is no address",
    "ftp://u:hunter2@x": "tracking uri ftp://x does not begin with a known scheme",
    "htp://127.0.0.1": "did you mean http",
    "u:hunter2@host:5000": "tracking uri host:5000",
    "": "the tracking uri is empty",
    "  ": "the tracking uri is empty",
    "sqlite:x.db": "names no file",
    "sqlite://u:hunter2@h/x.db": "names no file",
    "redis://:hunter2@h": "known scheme",
}


@pytest.mark.parametrize("uri", MALFORMED)
def test_a_malformed_address_is_refused_in_one_line(uri: str) -> None:
    with pytest.raises(TrackingError, match=MALFORMED[uri]) as error:
        Tracker(uri, "study")
    line = str(error.value)
    assert "\n" not in line and "hunt" not in line and "er2" not in line
    assert "MLFLOW_TRACKING_URI" in line or "write " in line, "the way out"
    assert error.value.status == 2


def _unusable(folder: Path) -> dict[str, str]:
    (folder / "text.db").write_text("this is no database\n" * 100)
    (folder / "folder.db").mkdir()
    with sqlite3.connect(folder / "other.db") as other:
        other.execute("CREATE TABLE changes (number INTEGER)")
    (folder / "file").write_text("")
    return {
        "sqlite:////proc/x/y.db": "/proc/x: No such file or directory",
        f"sqlite:///{folder}/text.db": "text.db is no SQLite database",
        f"sqlite:///{folder}/folder.db": "it is a folder",
        f"sqlite:///{folder}/other.db": "other.db is another program's database",
        f"sqlite:///{folder}/file/x.db": "exists|Not a directory",
        "postgresql+nodriver://u:hunter2@h/db": "postgresql[+]nodriver://h/db needs the driver nodriver; pip install",
        "mysql+nodriver://u:hunter2@h/db": "needs the driver nodriver",
        "http://u:hunter2@127.0.0.1:9": "Connection refused",
    }


def test_an_address_that_cannot_work_is_refused_in_seconds(tmp_path: Path) -> None:
    for uri, message in _unusable(tmp_path).items():
        began = time.monotonic()
        with pytest.raises(TrackingError, match=message) as error:
            Tracker(uri, "study").check()
        assert time.monotonic() - began < 20, "MLflow would try for minutes"
        line = str(error.value)
        assert "\n" not in line and "hunter2" not in line, line


def test_a_damaged_database_is_refused_in_one_line(schema: Path, tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(schema.read_bytes()[:5000])
    with pytest.raises(TrackingError, match=r"mlflow\.db") as error:
        Tracker(f"sqlite:///{tmp_path}/mlflow.db", "study").check()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ODD)
def test_a_database_lies_in_a_folder_of_any_name(schema: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "state" / name
    folder.mkdir(parents=True)
    shutil.copy(schema, folder / "mlflow.db")
    uri = sqlite_uri(folder / "mlflow.db")
    assert resolve(uri) == uri and sqlite_file(uri) == folder / "mlflow.db"
    tracker = Tracker(uri, "study")
    with open_trial(tracker, folder / "spool") as logger:
        logger.log(METRICS, 1)
        logger.table([{"source": "a"}], "reconstructions")
    with sqlite3.connect(folder / "mlflow.db") as database:
        assert database.execute("SELECT name FROM runs").fetchall() == [("00000",)]
    assert len(list((folder / "artifacts").rglob("reconstructions.json"))) == 1
    assert [path.name for path in (tmp_path / "state").iterdir()] == [name], "no folder is made by the way"


@pytest.mark.parametrize(
    ("version", "way_out"),
    {"0a8213491aaa": "copy it, then run: mlflow db upgrade ", "ffffffffffff": "a newer MLflow than"}.items(),
)
def test_another_schema_is_refused_with_the_way_out(
    schema: Path, tmp_path: Path, version: str, way_out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a b"
    folder.mkdir()
    shutil.copy(schema, folder / "mlflow.db")
    with sqlite3.connect(folder / "mlflow.db") as database:
        database.execute("UPDATE alembic_version SET version_num = ?", (version,))
    with pytest.raises(TrackingError, match=way_out) as error:
        Tracker(sqlite_uri(folder / "mlflow.db"), "study").check()
    assert "\n" not in str(error.value) and "start the server" not in str(error.value)
