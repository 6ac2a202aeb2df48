"""A JSON file is written completely or not at all, and a damaged one is not read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from t5vqvae.errors import DamagedFileError, UserError
from t5vqvae.files import CHECKSUM, content_sha256, copy_of, held, read_json, read_twice, write_json, write_twice


@pytest.mark.parametrize("indent", [None, 1])
def test_written_values_are_read_back(tmp_path: Path, indent: int | None) -> None:
    path, values = tmp_path / "new" / "values.json", {"name": "café", "list": [1, None, 2.5]}
    write_json(path, values, indent)
    assert read_json(path) == values
    written = json.loads(path.read_text())
    assert {key: value for key, value in written.items() if key != CHECKSUM} == values
    assert path.read_text() == json.dumps(written, indent=indent)
    assert [file.name for file in path.parent.iterdir()] == ["values.json"]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_half(path: Path, text: str, **_: str) -> None:
        path.write_bytes(text.encode()[: len(text) // 2])
        raise OSError("no space left on device")

    path = tmp_path / "values.json"
    write_json(path, {"old": True})
    monkeypatch.setattr("t5vqvae.files.Path.write_text", write_half)
    with pytest.raises(OSError, match="no space left"):
        write_json(path, {"new": True})
    assert read_json(path) == {"old": True}
    assert [file.name for file in tmp_path.iterdir()] == ["values.json"]


VALUES = {"name": "café", "metrics": {"a": float("inf"), "b": 1e-300}, "list": [1, None, 2.5], "7": "seven"}


def test_every_flipped_or_cut_byte_of_a_json_file_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "values.json"
    write_json(path, VALUES)
    whole = path.read_bytes()
    unnoticed = []
    for place in range(len(whole)):
        for damaged in (whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :], whole[:place]):
            path.write_bytes(damaged)
            try:
                unnoticed += [place] if read_json(path).items() == VALUES.items() else []
            except DamagedFileError as error:
                assert str(path) in str(error) and "\n" not in str(error)
    spaces = [place for place, byte in enumerate(whole) if byte == ord(" ")]
    assert set(unnoticed) <= set(spaces), "a changed value was read as if it were whole"


def test_a_file_of_an_older_version_has_no_checksum(tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text(json.dumps(VALUES))
    assert read_json(tmp_path / "old.json") == VALUES


@pytest.mark.parametrize("damage", ["cut", "flipped", "missing"])
def test_what_cannot_be_made_anew_is_restored_from_its_copy(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "study.json"
    write_twice(path, VALUES)
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[:9], "flipped": whole.replace(b"2.5", b"2.6"), "missing": b""}[damage])
    if damage == "missing":
        path.unlink()
    assert read_twice(path) == VALUES
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "restored from its copy" in said and str(path) in said
    assert read_twice(path) == VALUES and capsys.readouterr().err == ""
    for file in (path, copy_of(path)):
        file.write_bytes(b"{")
    with pytest.raises(DamagedFileError, match=r"study\.json is damaged"):
        read_twice(path)


def test_a_lock_names_its_holder(tmp_path: Path) -> None:
    taken = ("study tiny is being searched", "wait for it")
    with (
        held(tmp_path / "lock", *taken),
        pytest.raises(UserError, match=r"searched by process \d+ on .+; wait for it"),
        held(tmp_path / "lock", *taken),
    ):
        pass
    with held(tmp_path / "lock", "x", "y"):
        pass


def test_the_content_of_files_decides_their_hash(tmp_path: Path) -> None:
    file = tmp_path / "weights.bin"
    file.write_bytes(b"one")
    first = content_sha256([file])
    file.touch()
    assert content_sha256([file]) == first
    file.write_bytes(b"two!")
    assert content_sha256([file]) != first
