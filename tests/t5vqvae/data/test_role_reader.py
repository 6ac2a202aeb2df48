"""Roles of texts by the corpus: those that training gave a split's tokens, and none for a text of another kind."""

from __future__ import annotations

from pathlib import Path

from t5vqvae.data import DataConfig, prepare
from t5vqvae.data.role_reader import RoleReader
from t5vqvae.data.special_tokens import guard

GRAMMAR = {"corpus": {"name": "grammar", "version": 2, "size": 200, "validation_size": 60}, "max_length": 60}


def test_the_tokens_of_a_split_have_the_roles_that_training_gave_them(tmp_path: Path) -> None:
    config = DataConfig.parse({**GRAMMAR, "tokenizer": {"vocab_size": 300}})
    data = prepare(config, tmp_path)
    reader, rows = RoleReader(config.corpus, data.role_names), range(len(data.validation))
    texts = data.validation.sources(rows)
    spans = guard(data.tokenizer)(texts, return_offsets_mapping=True)["offset_mapping"]
    batch = data.validation.batch(rows)
    assert batch.roles_BT is not None and len(data.role_names) > 4
    for text, own, roles_T in zip(texts, spans, batch.roles_BT.tolist(), strict=True):
        assert reader.numbers(text, own) == roles_T[: len(own)] and set(roles_T[len(own) :]) <= {0}
        assert set(reader.numbers(text, own)) != {0}


def test_a_text_of_another_kind_has_no_roles() -> None:
    corpus = DataConfig.parse(GRAMMAR).corpus
    for text in ("a bat a bat", "iron is iron is"):
        assert RoleReader(corpus, ["none", "ARG0"]).numbers(text, [(0, 1), (2, 5), (0, 0)]) == [0, 0, 0]
    first = DataConfig.parse({"corpus": {"name": "grammar", "version": 1}}).corpus
    assert first.roles_of("a bat eats honey in a lake") is None


def test_a_role_that_training_never_saw_is_no_role() -> None:
    corpus, text = DataConfig.parse(GRAMMAR).corpus, "bats take  nectar and wait in a cave"
    assert corpus.roles_of(text) == ("ARG0", "V", "ARG1", "V2", "V2", *["ARGM-LOC"] * 3)
    spans = [(0, 3), (3, 4), (4, 9), (9, 17), (17, 21), (21, 26), (26, 29), (29, 36), (0, 0)]
    assert RoleReader(corpus, ["none", "V", "ARGM-LOC"]).numbers(text, spans) == [0, 0, 1, 0, 0, 0, 2, 2, 0]
