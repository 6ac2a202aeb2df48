"""A JSON file is written whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from t5vqvae.files import read_json, write_json


@pytest.mark.parametrize("indent", [None, 1])
def test_what_is_written_is_read(tmp_path: Path, indent: int | None) -> None:
    path, values = tmp_path / "new" / "values.json", {"name": "café", "list": [1, None, 2.5]}
    write_json(path, values, indent)
    assert read_json(path) == values
    assert path.read_bytes() == json.dumps(values, indent=indent).encode()
    assert [file.name for file in path.parent.iterdir()] == ["values.json"]


def test_values_that_are_no_json_leave_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "values.json"
    write_json(path, {"kept": True})
    with pytest.raises(TypeError):
        write_json(path, {"kept": object()})
    assert read_json(path) == {"kept": True}
    assert [file.name for file in tmp_path.iterdir()] == ["values.json"]
