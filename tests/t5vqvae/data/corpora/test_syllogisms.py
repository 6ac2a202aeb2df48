from __future__ import annotations

import itertools
import random
from collections import Counter
from pathlib import Path

import pytest

from t5vqvae.data import Corpus
from t5vqvae.data.corpora.corpus import Example
from t5vqvae.data.corpora.syllogisms import (
    NOTHING,
    SyllogismsCorpus,
    in_two_texts,
    made_up_nouns,
    write_conclusion,
    write_premise,
)
from t5vqvae.errors import DataError, SettingError

SMALL = {"size": 2000, "validation_size": 100, "test_size": 200, "num_nouns": 100}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return SyllogismsCorpus(**SMALL).load(tmp_path_factory.mktemp("cache"))


def statements(example: Example) -> list[tuple[str, str, str]]:
    """The premises of a text as (quantifier, subject, other)."""
    found = [premise.split() for premise in example.source.removesuffix(" .").split(" . ")]
    return [(" ".join(words[:-3]), words[-3], words[-1]) for words in found]


def links_of(example: Example) -> Counter[str]:
    return Counter(noun for _, subject, other in statements(example) for noun in (subject, other))


def chain_length(example: Example) -> int:
    """Premises of the chain: all but one whose two nouns nothing else has."""
    times = links_of(example)
    return sum(times[subject] > 1 or times[other] > 1 for _, subject, other in statements(example))


def test_statements_are_written_either_way_round() -> None:
    assert write_premise(("not all", False), "daks", "zefs") == "not all daks are zefs ."
    assert write_premise(("not all", True), "daks", "zefs") == "not all zefs are daks ."
    assert write_conclusion("all back", "daks", "zefs", "all zefs are daks .") == "all zefs are daks"
    assert write_conclusion("no", "daks", "zefs", "no zefs are daks .") == "no zefs are daks"
    assert write_conclusion("no", "daks", "zefs", "no daks are zefs .") == "no daks are zefs"
    assert write_conclusion("nothing", "daks", "zefs", "") == NOTHING


def test_a_quarter_has_no_conclusion_and_the_rest_is_spread(corpus: Corpus) -> None:
    targets = Counter(" ".join(example.text.split()[:-3]) or NOTHING for example in corpus.train)
    shares = {name: number / len(corpus.train) for name, number in targets.items()}
    # Three of four are spread over six relations, two of which are "all" and two "not all".
    expected = {NOTHING: 0.25, "all": 0.25, "not all": 0.25, "no": 0.125, "some": 0.125}
    assert shares == {name: pytest.approx(share, abs=0.03) for name, share in expected.items()}


def test_sets_have_the_hops_that_they_promise(corpus: Corpus) -> None:
    hops = {name: {chain_length(e) - 1 for e in rows} for name, rows in corpus.splits.items()}
    few, many = {1, 2}, {3, 4, 5}
    assert hops == {
        **dict.fromkeys(("train", "validation", "test", "NOUNS", "SHUFFLED"), few),
        **dict.fromkeys(("LONG", "LONGSHUFFLED"), many),
    }


def test_long_chains_are_in_order_and_about_half_of_all_have_a_distractor(corpus: Corpus) -> None:
    distracted = 0
    for example in corpus.splits["LONG"]:
        times, said = links_of(example), statements(example)
        chain = [{a, b} for _, a, b in said if times[a] > 1 or times[b] > 1]
        assert all(one & other for one, other in itertools.pairwise(chain)), example
        distracted += len(chain) < len(said)
    assert 70 <= distracted <= 130


def test_the_nouns_of_one_test_set_are_in_no_training_text(corpus: Corpus) -> None:
    known = {noun for example in corpus.train for noun in links_of(example)}
    assert len(known) == 100
    assert not known & {noun for example in corpus.splits["NOUNS"] for noun in links_of(example)}
    assert known >= {noun for example in corpus.splits["LONG"] for noun in links_of(example)}


def test_no_two_texts_have_the_same_premises_in_another_order(corpus: Corpus) -> None:
    keys = [tuple(sorted(statements(e))) for examples in corpus.splits.values() for e in examples]
    assert len(set(keys)) == len(keys)


def test_other_orders_of_drawn_premises_are_drawn_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    texts = ["all as are bs . no bs are cs .", "no bs are cs . all as are bs .", "no bs are cs . all as are ds ."]
    places = itertools.chain([0, 1, 0, 2], itertools.count(3))

    def draw(kind: object, rng: object) -> Example:
        place = next(places)
        return Example(texts[place] if place < 3 else f"all es are {place} .", "nothing follows")

    monkeypatch.setattr("t5vqvae.data.corpora.syllogisms.draw_example", draw)
    found = SyllogismsCorpus(size=1, validation_size=1, test_size=1).load(tmp_path)
    drawn = [example.source for examples in found.splits.values() for example in examples]
    assert set(drawn) >= {texts[0], texts[2]} and texts[1] not in drawn


def test_premises_are_cut_into_two_texts_in_their_order(corpus: Corpus, tmp_path: Path) -> None:
    odd = in_two_texts(Example("all as are bs . no bs are cs . some cs are ds .", NOTHING))
    assert (odd.source, odd.second) == ("all as are bs . no bs are cs .", "some cs are ds .")
    even = in_two_texts(Example("not all as are bs . no bs are cs .", NOTHING))
    assert (even.source, even.second, even.target) == ("not all as are bs .", "no bs are cs .", NOTHING)
    cut = SyllogismsCorpus(**SMALL, two_texts=True).load(tmp_path)
    for name, examples in corpus.splits.items():
        whole = [(example.shown.replace(" </s>", ""), example.text) for example in cut.splits[name]]
        assert whole == [(example.source, example.text) for example in examples]


def test_nouns_are_different_and_seeded() -> None:
    nouns = made_up_nouns(6000, random.Random(0))
    assert len(set(nouns)) == 6000 and all(noun.endswith("s") and noun.isalpha() for noun in nouns)
    assert nouns[:50] == made_up_nouns(50, random.Random(0))


def test_seed_and_cache(tmp_path: Path, corpus: Corpus) -> None:
    assert SyllogismsCorpus(**SMALL).load(tmp_path).fingerprint == corpus.fingerprint
    assert SyllogismsCorpus(**SMALL).load(tmp_path).fingerprint == corpus.fingerprint
    assert SyllogismsCorpus(**SMALL, seed=1).load(tmp_path).fingerprint != corpus.fingerprint


def test_what_cannot_be_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingError, match=r"data.corpus.test_hops=2 must be more than data.corpus.train_hops=2"):
        SyllogismsCorpus.parse({"test_hops": 2})
    monkeypatch.setattr("t5vqvae.data.corpora.syllogisms.MAX_IDLE_DRAWS", 0)
    few = SyllogismsCorpus(size=9000, validation_size=1, test_size=1, num_nouns=16, train_hops=1, distractors=0)
    with pytest.raises(DataError, match=r"data.corpus.size: only \d+ of 9000 different chains"):
        few.load(tmp_path)
