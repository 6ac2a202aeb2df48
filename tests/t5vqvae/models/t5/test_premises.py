"""Two premises, encoded jointly or each as if it were alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from baseline_runs import build, tiny

FIRST, SECOND, OTHER = "a fox eats fish", "a bird is a kind of animal in a river", "a whale"


def codes(tmp_path: Path, texts: list[object], **overrides: object) -> list[torch.Tensor]:
    """The codes of each text, without padding."""
    settings = {"quantizer.name": "vq", "quantizer.codebook_size": 64, "model.num_layers": 3, **overrides}
    model = build(tiny("t5vqvae", **settings), tmp_path).eval()
    return [row[(row != -1).all(-1)] for row in model.encode(texts)]


@pytest.mark.parametrize("position", [0, 1, 2, 3])
def test_a_premise_has_the_codes_that_it_has_alone(tmp_path: Path, position: int) -> None:
    changes = {"model.premises": "separate", "model.position": position}
    pair, longer, first, second = codes(tmp_path, [(FIRST, SECOND), (SECOND, SECOND), FIRST, SECOND], **changes)
    assert torch.equal(pair, torch.cat([first, second]))
    assert torch.equal(longer, torch.cat([second, second]))


def test_jointly_encoded_premises_see_each_other(tmp_path: Path) -> None:
    pair, first, second = codes(tmp_path, [(FIRST, SECOND), FIRST, SECOND], **{"model.position": 3})
    assert not torch.equal(pair, torch.cat([first, second]))


def test_the_blocks_behind_the_quantizer_see_both(tmp_path: Path) -> None:
    spec = tiny("t5vqvae", **{"quantizer.name": "none", "model.premises": "separate", "model.position": 1})
    model = build(spec, tmp_path).eval()
    ids, mask = model._tokenize([(FIRST, SECOND), (FIRST, OTHER)])
    with torch.no_grad():
        one, another = model.encoder(ids, mask).last_hidden_state
        before, before_other = model.encoder.states_BTE
    length = len(model._tokenize([FIRST])[0][0])
    assert torch.allclose(before[:length], before_other[:length], atol=1e-6)
    assert not torch.allclose(one[:length], another[:length], atol=1e-3)


def test_one_text_is_encoded_as_ever(tmp_path: Path) -> None:
    texts: list[object] = [FIRST, SECOND]
    joint = codes(tmp_path, texts, **{"model.position": 3})
    separate = codes(tmp_path, texts, **{"model.position": 3, "model.premises": "separate"})
    assert all(torch.equal(one, other) for one, other in zip(joint, separate, strict=True))
