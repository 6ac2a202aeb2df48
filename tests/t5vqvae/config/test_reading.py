"""Reading YAML and words: what people write is read as they mean it, or refused with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from t5vqvae.config import flatten, parse_words, read_yaml
from t5vqvae.config.reading import read_value
from t5vqvae.errors import SettingError


def file_of(folder: Path, text: str) -> Path:
    path = folder / "settings.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 1e-3), ("1_000", 1000), ("10:00", "10:00"), ("010", "010"), (".5", 0.5), ("0x", "0x"), ("-3", -3)],
)
def test_numbers_are_read_as_people_write_them(text: str, value: object) -> None:
    assert read_value(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\nb: 2\na: 3\n",
        "x: 1\nb:\n  c: 1\n  c: 2\n",
        "x: 1\ny: 1\nz: {c: 1, 'c': 2}\n",
    ],
)
def test_a_key_that_stands_twice_is_refused_with_its_lines(text: str, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"settings\.yaml, line [34] .*[ac] stands twice, first in line [123]; keep"):
        read_yaml(file_of(tmp_path, text), "settings")


def test_merge_keys_may_be_overridden(tmp_path: Path) -> None:
    text = "base: &base {a: 1, b: 2}\nnext: {<<: *base, b: 3}\nlast: &last {<<: *base, a: 5}\nmore: {<<: *last, a: 6}\n"
    assert read_yaml(file_of(tmp_path, text), "settings") == {
        "base": {"a": 1, "b": 2},
        "next": {"a": 1, "b": 3},
        "last": {"a": 5, "b": 2},
        "more": {"a": 6, "b": 2},
    }


def test_a_leading_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    assert read_yaml(file_of(tmp_path, "\ufeffseed: 1\n"), "settings") == {"seed": 1}


def test_two_ways_to_write_one_path_are_refused() -> None:
    with pytest.raises(SettingError, match=r"^train\.max_steps stands twice, as 3 and as 4; keep one$"):
        flatten({"train.max_steps": 3, "train": {"max_steps": 4}})


@pytest.mark.parametrize(
    "text", ["/tmp/a #1.txt", "#1", "[1, 2] # two", "'a' #b", "a: b #c", "- a #b\n- c", "[a, #b\n c]", "{a: 1 #b\n}"]
)
def test_a_word_of_which_a_part_would_be_a_comment_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match=r"^data.corpus.path=.* takes what begins with # .* put it in quotes$"):
        parse_words([f"data.corpus.path={text}"])


@pytest.mark.parametrize(
    "text", ["a#1", "'/tmp/a #1.txt'", '["a #1", "#"]', "{a: '#'}", "b: 'c #d'", "- a#b", "|\n a #b"]
)
def test_a_word_may_hold_what_is_no_comment(text: str) -> None:
    assert "#" in str(parse_words([f"a={text}"])["a"])


def test_a_word_that_is_no_yaml_names_its_setting() -> None:
    with pytest.raises(SettingError, match=r"^question='@x' is no value: .*; put it in quotes$"):
        parse_words(["question=@x"])
