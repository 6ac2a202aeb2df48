"""Drift: how far the codes of tokens and the entries of the codebook moved since an earlier checkpoint of the run.

Both checkpoints encode the same probed sentences, token by token.

- `codes_changed`: share of tokens of which a code is another one. `codes_changed_shuffled`: the same with the earlier
  codes in other orders, what two checkpoints with nothing in common would have.
- `cosine`: mean cosine of an entry before and now, over the entries in use: those that a token has in one of the two.
  `cosine_shuffled`: the same with the earlier entries in other orders, because all entries may point one way.
- `distance`: mean distance from an entry's place before to its place now, over the mean length of the entries before;
  `distance_shuffled`: the same with the earlier entries in other orders.

The other orders are 20 shifts of one random order, or all of them where there are fewer, and their mean is given: no
entry is its own partner. With one entry in use there is no other order.

Entries are taken in code space, before the projection to the model's width. A position with several codebooks has one
entry, that of its codes together. Tokens change their codes also where no entry moves: the encoder moves, too.

Letters: N tokens, Q codes a position, K entries in use, C code width.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from t5vqvae.errors import CheckpointError, DataError, UserError
from t5vqvae.latent.code_vectors import num_entries, vectors
from t5vqvae.measures.base import Found, Probed, Row, measure
from t5vqvae.measures.slots import Floats, Ints
from t5vqvae.models.contract import TextAutoencoder, load_model, model_folder
from t5vqvae.quantizers import Quantizer

NUM_SHOWN = 20
"""Codes in the table."""
NUM_ORDERS = 20
RowsT = TypeVar("RowsT", Ints, Floats)
_WAY_OUT = "name an earlier checkpoint of the same run, of sfvq one after the last doubling"


@measure("drift")
def drift(probed: Probed) -> Found:
    """Measures how far codes and entries moved since an earlier checkpoint."""
    if probed.earlier is None or not probed.codes:
        return Found()
    before_NQ = np.concatenate(replace(probed, model=probed.earlier).codes)
    now_NQ = np.concatenate(probed.codes)
    used_KQ = np.unique(np.concatenate([before_NQ, now_NQ]), axis=0)
    before_KC, now_KC = _entries(probed.earlier, used_KQ), _entries(probed.model, used_KQ)
    metrics = {
        "drift/codes_changed": changed_share(before_NQ, now_NQ),
        "drift/codes_changed_shuffled": by_chance(changed_share, before_NQ, now_NQ, probed.seed),
        "drift/cosine": paired_cosine(before_KC, now_KC),
        "drift/cosine_shuffled": by_chance(paired_cosine, before_KC, now_KC, probed.seed),
        "drift/distance": relative_distance(before_KC, now_KC),
        "drift/distance_shuffled": by_chance(relative_distance, before_KC, now_KC, probed.seed),
    }
    rows = _moved(before_NQ, now_NQ, used_KQ, before_KC, now_KC)
    kept = {key: value for key, value in metrics.items() if value is not None}
    return Found(kept, {"Codes then and now, the most frequent ones": rows})


def by_chance(of: Callable[[RowsT, RowsT], float | None], before: RowsT, now: RowsT, seed: int) -> float | None:
    """Returns the mean of a measure over orders in which no row is its own partner; None if there is none."""
    order = np.random.default_rng(seed).permutation(len(before))
    shifts = {round(shift) for shift in np.linspace(1, len(before) - 1, NUM_ORDERS)} if len(before) > 1 else set[int]()
    values = [of(before[np.roll(order, shift)], now[order]) for shift in sorted(shifts)]
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def changed_share(before_NQ: Ints, now_NQ: Ints) -> float:
    """Returns the share of tokens of which at least one code is another one, in [0, 1]."""
    return float((before_NQ != now_NQ).any(1).mean())


def paired_cosine(before_KC: Floats, now_KC: Floats) -> float | None:
    """Returns the mean cosine of vectors with their partners, in [-1, 1].

    Vectors without length have no direction, so their pairs are left out; None if all are.
    """
    lengths_K = np.linalg.norm(before_KC, axis=1) * np.linalg.norm(now_KC, axis=1)
    some_K = lengths_K > 0
    if not some_K.any():
        return None
    return float(((before_KC * now_KC).sum(1)[some_K] / lengths_K[some_K]).mean())


def relative_distance(before_KC: Floats, now_KC: Floats) -> float | None:
    """Returns the mean distance of partners over the mean length before; None if nothing had a length."""
    length = float(np.linalg.norm(before_KC, axis=1).mean())
    return float(np.linalg.norm(now_KC - before_KC, axis=1).mean()) / length if length > 0 else None


def earlier_model(folder: Path, model: TextAutoencoder) -> TextAutoencoder:
    """Returns the model of an earlier checkpoint, in evaluation mode, on the device of the later one.

    Args:
        folder: A checkpoint, or its folder `model`.
        model: The later model.

    Raises:
        CheckpointError: If the folder has no model, or one that this version of the code cannot load.
        DataError: If one of them has no codes, or their tokenizers or codebooks differ, so that tokens or codes of one
            number are not the same ones.
    """
    found = _loaded(folder)
    if not model.has_codes:
        raise DataError(f"earlier={folder}: the probed model has no codes that could move; leave earlier out")
    if not found.has_codes:
        raise DataError(
            f"earlier={folder} has no codes (quantizer.name=none, or before train.quantize_from); name a later"
            " checkpoint of the same run"
        )
    mine, its = (each.require_tokenizer().get_vocab() for each in (model, found))
    if mine != its:
        differ = [token for token, number in mine.items() if its.get(token) != number]
        other = f", and it has no {differ[0]!r} at its place" if differ else ""
        raise DataError(
            f"earlier={folder} has another tokenizer (data.tokenizer): {len(its)} tokens, the probed model has"
            f" {len(mine)}{other}; {_WAY_OUT}"
        )
    sizes = _sizes(found.quantizer), _sizes(model.quantizer)
    _refuse_shape(folder, "quantizer.codebook_size; the curve of sfvq grows", "entries", *sizes)
    widths = found.quantizer.code_width, model.quantizer.code_width
    _refuse_shape(folder, "quantizer.code_width", "numbers", *map(str, widths))
    return found.to(next(model.parameters()).device).eval()


def _loaded(folder: Path) -> TextAutoencoder:
    try:
        return load_model(model_folder(folder))
    except UserError:
        raise
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        reason = str(error).splitlines()[0] if str(error) else repr(error)
        raise CheckpointError(f"earlier={folder} cannot be loaded: {reason}; {_WAY_OUT}") from error


def _sizes(quantizer: Quantizer) -> str:
    return " + ".join(str(num_entries(quantizer, codebook)) for codebook in range(quantizer.num_codebooks))


def _refuse_shape(folder: Path, setting: str, unit: str, its: str, mine: str) -> None:
    if its != mine:
        raise DataError(
            f"earlier={folder} has a codebook of {its} {unit} ({setting}), the probed model one of {mine}; {_WAY_OUT}"
        )


def _entries(model: TextAutoencoder, codes_KQ: Ints) -> Floats:
    """Returns the vectors of codes in code space, shape (K, C)."""
    codes = torch.from_numpy(codes_KQ).to(next(model.parameters()).device)
    return vectors(model.quantizer, codes).double().cpu().numpy()


def _moved(before_NQ: Ints, now_NQ: Ints, used_KQ: Ints, before_KC: Floats, now_KC: Floats) -> list[Row]:
    """Returns a row for each of the codes that were most frequent before."""
    before, now = list(map(tuple, before_NQ.tolist())), list(map(tuple, now_NQ.tolist()))
    number, number_now = Counter(before), Counter(now)
    stayed = Counter(one for one, other in zip(before, now, strict=True) if one == other)
    places = {tuple(codes): place for place, codes in enumerate(used_KQ.tolist())}
    rows: list[Row] = []
    for code, count in sorted(number.items(), key=lambda item: (-item[1], item[0]))[:NUM_SHOWN]:
        pair = before_KC[[places[code]]], now_KC[[places[code]]]
        rows.append({"code": " ".join(map(str, code)), "uses before": count, "uses now": number_now[code],
                     "tokens kept": stayed[code] / count, "cosine": paired_cosine(*pair),
                     "distance": relative_distance(*pair)})  # fmt: skip
    return rows
