"""A JSON file is written completely or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from t5vqvae.files import read_json, write_json


@pytest.mark.parametrize("indent", [None, 1])
def test_written_values_are_read_back(tmp_path: Path, indent: int | None) -> None:
    path, values = tmp_path / "new" / "values.json", {"name": "café", "list": [1, None, 2.5]}
    write_json(path, values, indent)
    assert read_json(path) == values
    assert path.read_bytes() == json.dumps(values, indent=indent).encode()
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
