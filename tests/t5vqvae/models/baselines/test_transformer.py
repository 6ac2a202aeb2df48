"""The plain Transformer against its formulas, and against T5's parts, of which it has none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from baseline_runs import batch_of, build, tiny

from t5vqvae.errors import SettingError
from t5vqvae.models.t5 import sinusoids


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_an_encoder_block_by_hand(cache: Path, norm: str) -> None:
    """softmax(q k^T / sqrt(d_k)) v, feed-forward, layer norm with mean and bias; positions are added to embeddings."""
    spec = tiny("transformer", **{"model.num_layers": 1, "model.norm": norm, "quantizer.name": "none"})
    model, batch = build(spec, cache).eval(), batch_of(spec, cache)
    for parameter in model.parameters():  # biases and scales that start at 0 and 1 would hide a missing one
        parameter.data += 0.1 * torch.randn_like(parameter)
    layer, heads = model.encoder[0], 4

    def attend(x):
        q, k, v = (x @ layer.self_attn.in_proj_weight.T + layer.self_attn.in_proj_bias).chunk(3, -1)
        q, k, v = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k, v))
        scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        scores = scores.masked_fill(~batch.mask_BT[:, None, None], -torch.inf)
        return layer.self_attn.out_proj((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))

    def norm_by_hand(x, which):
        centred = x - x.mean(-1, keepdim=True)
        return which.weight * centred / (centred.square().mean(-1, keepdim=True) + which.eps).sqrt() + which.bias

    def feed(x):
        return layer.linear2(F.relu(layer.linear1(x)))

    x = model.embedding.weight[batch.input_ids_BT] * 32**0.5
    x = x + sinusoids(x)
    if norm == "post":
        x = norm_by_hand(x + attend(x), layer.norm1)
        x = norm_by_hand(x + feed(x), layer.norm2)
    else:
        x = x + attend(norm_by_hand(x, layer.norm1))
        x = norm_by_hand(x + feed(norm_by_hand(x, layer.norm2)), model.encoder_norm)
    with torch.no_grad():
        states = model.encode_memory(batch).states_BME
    torch.testing.assert_close(states[batch.mask_BT], x[batch.mask_BT], rtol=1e-4, atol=1e-4)


def test_it_has_nothing_of_t5(cache: Path) -> None:
    model = build(tiny("transformer"), cache)
    names = [name for name, _ in model.named_parameters()]
    assert not any("relative" in name for name in names)
    linears = [m for m in model.modules() if isinstance(m, torch.nn.Linear)]
    assert linears and all(m.bias is not None for m in linears)
    assert all(m.bias is not None for m in model.modules() if isinstance(m, torch.nn.LayerNorm))


def test_order_counts_by_absolute_positions_alone(cache: Path) -> None:
    """Moved one place on, the same words give other states; in T5 (relative bias only) they give the same."""
    spec = tiny("transformer", **{"model.num_layers": 1, "quantizer.name": "none"})
    model = build(spec, cache).eval()
    first = model.embed(torch.tensor([[5, 6, 7]]))
    moved = model.embed(torch.tensor([[4, 5, 6, 7]]))[:, 1:]
    torch.testing.assert_close(moved - first, sinusoids(moved, 1)[None] - sinusoids(first)[None])


def test_the_decoder_sees_code_vectors_and_their_places_alone(cache: Path) -> None:
    spec = tiny("transformer")
    model, batch = build(spec, cache).eval(), batch_of(spec, cache)
    with torch.no_grad():
        memory = model.encode_memory(batch)
    codes, table = memory.bottleneck.codes_BTQ[..., 0], model.quantizer.tables_QKD[0]
    assert torch.equal(memory.states_BME[batch.mask_BT], table[codes[batch.mask_BT]])


def test_the_future_is_hidden(cache: Path) -> None:
    spec = tiny("transformer")
    model, batch = build(spec, cache).eval(), batch_of(spec, cache)
    with torch.no_grad():
        memory = model.encode_memory(batch)
        ids = torch.randint(2, 100, (len(batch), 6))
        changed = ids.clone()
        changed[:, 4:] = 9
        torch.testing.assert_close(model.logits(memory, ids)[:, :4], model.logits(memory, changed)[:, :4])


def test_heads_that_do_not_fit_are_refused() -> None:
    with pytest.raises(SettingError, match=r"model.num_heads=5 must divide model.d_model"):
        tiny("transformer", **{"model.num_heads": 5})
