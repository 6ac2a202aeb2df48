"""Labels of words from a file: on a model whose codes name words everything is known by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from places import SHARED_DATA
from spelling_model import Spelling

from t5vqvae.data import DataConfig
from t5vqvae.errors import DataError
from t5vqvae.measures.base import Found, Probed
from t5vqvae.measures.word_labels import labels, read_labelled
from t5vqvae.spec.run import RunSpec

PARSED = """sentence\tparse
a bat eats honey\t(S (NP (DT a) (NN bat)) (VP (VBZ eats) (NP (NN honey))))
a big cat eats eggs\t(S (NP (DT a) (JJ big) (NN cat)) (VP (VBZ eats) (NP (NNS eggs))))
"""
ROLES = "a bat eats honey & ARG0 ARG0 V ARG1\na big cat eats eggs & ARG0 ARG0 ARG0 V ARG1\n"
DATA = SHARED_DATA / "explanations_parsed"


def probed(file: Path | None, model: Spelling | None = None) -> Probed:
    none = cast(Any, None)
    return Probed(
        model=model or Spelling(), spec=RunSpec(), train=none, split=none, split_name="validation",
        role_names=("none",), cache_dir=Path(), num_sentences=400, num_edits=1, labels=file,
    )  # fmt: skip


def found(path: Path, text: str, model: Spelling | None = None) -> Found:
    path.write_text(text)
    return labels(probed(path, model))


def test_parts_of_speech_and_roles_are_read_from_every_form(tmp_path: Path) -> None:
    texts = ("a bat eats honey", "a big cat eats eggs")
    parts = (("DT", "NN", "VBZ", "NN"), ("DT", "JJ", "NN", "VBZ", "NNS"))
    parses = "".join(line.replace("\t", " & ") + "\n" for line in PARSED.splitlines()[1:])
    for name, text in (("a.tsv", PARSED), ("a.txt", parses)):
        (tmp_path / name).write_text(text)
        assert read_labelled(tmp_path / name) == (list(zip(texts, parts, strict=True)), {})
    (tmp_path / "a.roles").write_text(ROLES)
    assert next(own for _, own in read_labelled(tmp_path / "a.roles")[0]) == ("ARG0", "ARG0", "V", "ARG1")


def test_codes_that_name_words_say_the_label_where_the_word_decides_it(tmp_path: Path) -> None:
    metrics = found(tmp_path / "a.txt", (ROLES.replace("bat", "dog") + ROLES) * 50).metrics
    assert metrics["labels/purity"] == 1
    assert metrics["labels/information"] == pytest.approx(metrics["labels/entropy"], abs=0.02)
    # By hand: of 9 words of two sentences 5 are ARG0, so a shuffled code is right in more than half of the cases.
    assert 0.5 < metrics["labels/purity_shuffled"] < 0.65
    # Of 5, 2 and 2 words of the labels 2, 2 and 1 have the most frequent code.
    assert metrics["labels/inverse_purity"] == pytest.approx(5 / 9, abs=0.12)
    assert metrics["labels/homogeneity"] == pytest.approx(1, abs=0.02)
    assert metrics["labels/v_measure_shuffled"] < 0.02


def test_labels_that_words_do_not_decide_are_not_said(tmp_path: Path) -> None:
    lines = [f"a bat & {one} {other}" for one in "XY" for other in "XY"]
    metrics = found(tmp_path / "a.txt", "\n".join(lines * 50)).metrics
    assert metrics["labels/entropy"] == 1 and metrics["labels/purity"] == 0.5
    assert abs(metrics["labels/information"]) < 0.02


def test_the_table_says_which_labels_are_found(tmp_path: Path) -> None:
    """By hand: `bat` is NN twice and VB once, so its code stands for NN, and the VB is not found."""
    lines = ["a bat & DT NN", "a bat & DT NN", "a bat & DT VB", "eats & VB"]
    [table] = found(tmp_path / "a.txt", "\n".join(lines)).tables.values()
    rows = {row["label"]: (row["words"], row["codes"], row["found by its codes"], row["precision"]) for row in table}
    assert rows == {"DT": (3, 1, 1.0, 1.0), "NN": (2, 1, 1.0, 2 / 3), "VB": (2, 1, 0.5, 1.0)}


def test_nothing_is_said_without_codes_or_without_a_file(tmp_path: Path) -> None:
    assert not labels(probed(None)).metrics
    assert not found(tmp_path / "a.txt", ROLES, Spelling("none")).metrics


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a bat & ARG0", "line 1: 'a bat' has 2 words but 1 roles"),
        ("a bat", "line 1 has no ` & ` between sentence and roles"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        found(tmp_path / "a.txt", text)
    with pytest.raises(DataError, match="there is no such file"):
        labels(probed(tmp_path / "none.txt"))


SPLIT = "a cat don't eat\t(S (DT a) (NN cat) (VBP do) (RB n't) (VB eat))\n"


def test_a_parse_of_other_words_leaves_its_sentence_out_and_is_counted(tmp_path: Path) -> None:
    both = found(tmp_path / "a.tsv", PARSED + SPLIT + SPLIT)
    [left_out] = list(both.tables.values())[1:]
    assert left_out == [{"sentences": 2, "why": "parsed into other words"}]
    assert both.metrics == found(tmp_path / "b.tsv", PARSED).metrics
    with pytest.raises(DataError, match=r"all of its sentences are left out \(1 parsed into other words\)"):
        found(tmp_path / "c.tsv", "sentence\tparse\n" + SPLIT)
    corpus = {"name": "text", "path": str(tmp_path / "a.tsv"), "roles_column": "parse", "validation_fraction": 0.5}
    loaded = DataConfig.parse({"corpus": corpus}).corpus.load(tmp_path)
    assert sum(number for each in loaded.left_out.values() for number in each.values()) == 2


def test_a_corpus_of_a_file_has_its_roles(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text(ROLES)
    (tmp_path / "validation.tsv").write_text(PARSED.replace("bat", "dog").replace("cat", "old"))
    corpus = {"name": "text", "path": str(tmp_path / "train.txt"), "format": "roles", "validation_fraction": 0.5}
    loaded = DataConfig.parse({"corpus": corpus}).corpus.load(tmp_path)
    assert {e.source: e.roles for e in (*loaded.train, *loaded.validation, *loaded.test)} == {
        "a bat eats honey": ("ARG0", "ARG0", "V", "ARG1"),
        "a big cat eats eggs": ("ARG0", "ARG0", "ARG0", "V", "ARG1"),
    }
    corpus = {"name": "text", "path": str(tmp_path / "validation.tsv"), "roles_column": "parse"}
    loaded = DataConfig.parse({"corpus": {**corpus, "validation_fraction": 0.5}}).corpus.load(tmp_path)
    assert {e.roles for e in (*loaded.train, *loaded.validation, *loaded.test)} == {
        ("DT", "NN", "VBZ", "NN"), ("DT", "JJ", "NN", "VBZ", "NNS")
    }  # fmt: skip


@pytest.mark.skipif(not DATA.is_dir(), reason=f"needs the corpus's folder {DATA}")
def test_the_parsed_explanations_have_a_part_of_speech_for_every_word() -> None:
    known, _ = read_labelled(DATA / "test.tsv")
    assert len(known) == 3_148
    assert known[0] == ("milk is a kind of food", ("NN", "VBZ", "DT", "NN", "IN", "NN"))
