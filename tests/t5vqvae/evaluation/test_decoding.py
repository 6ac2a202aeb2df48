"""Decoding many sentences: the same texts and codes as batch by batch, in fewer steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from baseline_runs import CASES, batch_of, build, tiny

from t5vqvae.data import TokenizedSplit, evaluation_batches, prepare
from t5vqvae.data.split import Tokenized, write_split
from t5vqvae.evaluation.decoding import Decoding

END, LONGEST = 1, 40


class Echo:
    """A model that repeats its source; a source that begins with 9 never ends. It counts its steps."""

    def __init__(self) -> None:
        self.steps = 0
        self.batches: list[int] = []

    def parameters(self) -> Any:
        return iter([torch.zeros(1)])

    def require_tokenizer(self) -> Any:
        decode = lambda ids, skip_special_tokens: [" ".join(map(str, row[row > 1].tolist())) for row in ids]  # noqa: E731
        return SimpleNamespace(eos_token_id=END, batch_decode=decode)

    def encode_memory(self, batch: Any) -> Any:
        codes_BTQ = batch.input_ids_BT.unsqueeze(-1).masked_fill(~batch.mask_BT.unsqueeze(-1), -1)
        return SimpleNamespace(bottleneck=SimpleNamespace(codes_BTQ=codes_BTQ))

    def greedy(self, batch: Any, max_new_tokens: int, enough: float = 1.0, memory: Any = None) -> torch.Tensor:
        ids = torch.zeros(len(batch), max_new_tokens + 1, dtype=torch.int64)
        lengths = []
        for row, source in enumerate(batch.input_ids_BT.tolist()):
            endless = source[0] == 9
            text = [9] * max_new_tokens if endless else source[: source.index(END) + 1]
            ids[row, 1 : 1 + len(text)] = torch.tensor(text)
            lengths.append(max_new_tokens if endless else len(text))
        steps = sorted(lengths)[int(np.ceil(enough * len(lengths))) - 1]
        self.steps, self.batches = self.steps + steps, [*self.batches, len(batch)]
        return ids[:, : steps + 1]


def split_of(folder: Path, rows: Sequence[Sequence[int]]) -> TokenizedSplit:
    write_split(folder, [Tokenized(str(i), None, [*row, END], [], None) for i, row in enumerate(rows)])
    return TokenizedSplit(folder)


def decoded(model: Any, split: TokenizedSplit, size: int, single: bool) -> dict[int, tuple[str, str]]:
    batches = ((indices, batch, model.encode_memory(batch)) for indices, batch in evaluation_batches(split, size))
    found = Decoding(model, split, LONGEST, size).run(batches, single=single)
    each = [one for batch in found for one in batch]
    assert len({one.index for one in each}) == len(each) == len(split)
    return {one.index: (one.text, one.codes) for one in each}


def test_an_endless_sentence_in_each_batch_holds_up_no_batch(tmp_path: Path) -> None:
    rows = [[9, 3, 4] if i % 20 == 0 else [3 + i % 5, 4, 5] for i in range(200)]
    split = split_of(tmp_path / "split", rows)
    quick, direct = Echo(), Echo()
    assert decoded(quick, split, 20, single=False) == decoded(direct, split, 20, single=True)
    assert direct.steps == 10 * LONGEST
    assert quick.steps == 10 * 4 + LONGEST and quick.batches == [20] * 10 + [10]


def test_a_model_that_ends_nothing_costs_no_second_try(tmp_path: Path) -> None:
    split = split_of(tmp_path / "split", [[9, 3]] * 60)
    model = Echo()
    decoded(model, split, 20, single=False)
    assert model.steps == 3 * LONGEST


def test_a_single_batch_is_decoded_at_once(tmp_path: Path) -> None:
    split = split_of(tmp_path / "split", [[9, 3], *[[3, 4]] * 30])
    model = Echo()
    decoded(model, split, 64, single=True)
    assert model.batches == [31]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize("case", [case for case in CASES if "cross layer" not in case])
def test_decoding_that_stops_early_begins_as_decoding_that_does_not(case: str, cache: Path) -> None:
    name, overrides = CASES[case]
    spec = tiny(name, **overrides)
    torch.manual_seed(0)
    model, batch = build(spec, cache).eval(), batch_of(spec, cache)
    head = model.get_input_embeddings()
    with torch.no_grad():
        head.weight[END] += 2 * head.weight.std()  # so that some sentences end and others do not
        whole, early = model.greedy(batch, 12), model.greedy(batch, 12, enough=0.5)
    assert torch.equal(whole[:, : early.shape[1]], early)
    ended = [(ids[:, 1:] == END).any(-1).float().mean() for ids in (early, early[:, :-1])]
    assert early.shape[1] == 13 or (ended[0] >= 0.5 > ended[1])


def test_a_real_split_gives_the_texts_of_its_batches(cache: Path) -> None:
    spec = tiny("t5vqvae")
    split = prepare(spec.data, cache).validation
    model = build(spec, cache).eval()
    with torch.no_grad():
        assert decoded(model, split, 8, single=False) == decoded(model, split, 8, single=True)
