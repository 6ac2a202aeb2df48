"""The index of settings refuses what the specs refuse, in the same words, and never anything else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from t5vqvae.config import parse_words
from t5vqvae.config.describe import Setting, settings
from t5vqvae.config.setting_index import KEPT, index_file, read_index, unknown_settings, write_index
from t5vqvae.errors import SettingError
from t5vqvae.spec.run import RunSpec

KNOWN = list(settings(RunSpec))


def refused_by_the_spec(overrides: dict[str, Any]) -> list[str]:
    try:
        RunSpec().with_overrides(overrides)
    except SettingError as error:
        return str(error).splitlines()
    return []


def chosen(setting: Setting) -> dict[str, Any]:
    """The override that picks the variant which has a setting."""
    family, _, name = (setting.variant or "").partition("=")
    return {f"{family}.name": name} if family else {}


@pytest.mark.parametrize("setting", KNOWN, ids=lambda one: f"{one.variant}-{one.path}")
def test_a_misspelt_setting_is_refused_in_the_words_of_the_spec(setting: Setting) -> None:
    section, _, leaf = setting.path.rpartition(".")
    misspelt = f"{section}.{leaf}x" if section else f"{leaf}x"
    overrides = {**chosen(setting), misspelt: 1}
    [fast] = unknown_settings(KNOWN, overrides)
    assert fast in refused_by_the_spec(overrides)
    assert unknown_settings(KNOWN, {**chosen(setting), setting.path: 1}) == []


@pytest.mark.parametrize(
    "word",
    [
        "quantiser.decay=1",
        "data.corpsu.size=1",
        "data.corpus.sizee=1",
        "model.promts.decay=1",
        "sed=1",
        "train.zzzzzz=1",
        "x=1",
    ],
)
def test_a_misspelt_component_at_any_depth_is_refused_in_the_words_of_the_spec(word: str) -> None:
    overrides = parse_words([word])
    assert unknown_settings(KNOWN, overrides) == refused_by_the_spec(overrides) != []


def test_the_file_below_the_words_chooses_the_variant() -> None:
    [ema] = unknown_settings(KNOWN, {"quantizer.codebok_size": 3})
    [fsq] = unknown_settings(KNOWN, {"quantizer.levles": 3}, {"quantizer.name": "fsq"})
    assert ema == "quantizer.codebok_size is unknown; did you mean quantizer.codebook_size?"
    assert fsq == "quantizer.levles is unknown; did you mean quantizer.levels?"


@pytest.mark.parametrize(
    "overrides",
    [
        {"quantizer.name": "nosuch", "quantizer.codebok_size": 3},
        {"quantizer": "ema"},
        {"train.max_steps.x": 3},
        {"quantizer.levels": 3},
    ],
)
def test_what_the_index_cannot_judge_is_left_to_the_spec(overrides: dict[str, Any]) -> None:
    assert unknown_settings(KNOWN, overrides) == []


def test_an_index_reads_back_and_is_lost_when_a_source_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    source = tmp_path / "source"
    source.mkdir()
    (source / "one.py").write_text("a = 1")
    file = index_file([source])
    assert file is not None
    assert read_index(file) == {}
    write_index(file, {"RunSpec": KNOWN})
    assert read_index(file) == {"RunSpec": KNOWN}
    assert index_file([source]) == file
    os.utime(source / "one.py", ns=(1, 1))
    touched = index_file([source])
    (source / "two.py").write_text("")
    assert len({file, touched, index_file([source])}) == 3
    (source / "notes.txt").write_text("no source")
    assert index_file([source]) not in (file, touched)


def test_the_newest_indexes_stay_and_what_cannot_be_written_is_skipped(tmp_path: Path) -> None:
    for number in range(KEPT + 3):
        write_index(tmp_path / f"settings-{number}.json", {"RunSpec": KNOWN[:1]})
        os.utime(tmp_path / f"settings-{number}.json", ns=(number, number))
    write_index(tmp_path / "settings-last.json", {"RunSpec": KNOWN[:1]})
    left = {file.name for file in tmp_path.glob("*.json")}
    assert len(left) == KEPT
    assert {"settings-last.json", f"settings-{KEPT + 2}.json"} <= left
    (tmp_path / "taken").write_text("a file where the folder should be")
    write_index(tmp_path / "taken" / "settings-1.json", {"RunSpec": KNOWN})


def test_a_user_without_a_home_has_no_index(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def homeless() -> Path:
        raise RuntimeError("no home")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert index_file([tmp_path]) is None


def test_a_flipped_letter_of_the_index_refuses_nothing(tmp_path: Path) -> None:
    file = tmp_path / "settings-1.json"
    write_index(file, {"RunSpec": KNOWN})
    assert read_index(file)["RunSpec"] == KNOWN
    file.write_text(file.read_text().replace("train.max_steps", "train.max_stepz"))
    assert read_index(file) == {}


def test_a_link_to_nowhere_among_the_sources_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.py").touch()
    before = index_file([tmp_path])
    (tmp_path / ".#a.py").symlink_to(tmp_path / "user@host.1234")
    assert index_file([tmp_path]) == before
