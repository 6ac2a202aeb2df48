"""What augmented rows change in joint rates, where codes are the tokens themselves, on the test split of `math`.

    python -m tests.benchmarks.augmented_rates [--state var]

Until own rows alone were counted, joint rates and those under a prior had the first line's rule.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from t5vqvae.data import TokenizedSplit, prepare, prepare_test
from t5vqvae.data.batching import evaluation_batches
from t5vqvae.evaluation.chains import SentenceCodes, chain_bits, note_codes, num_counted_sentences
from tune.spec.search_spec import SearchSpec


def token_codes(split: TokenizedSplit, limit: int | None) -> SentenceCodes:
    """Returns the tokens of sentences as codes of one codebook; `limit` sentences of the fixed random subset."""
    found: SentenceCodes = {}
    for indices, batch in evaluation_batches(split, 256, limit=limit):
        note_codes(found, indices, batch.input_ids_BT.masked_fill(~batch.mask_BT, -1)[..., None])
    return found


def main() -> None:
    """Prints the joint bits a token, and those under a prior, by which rows are counted."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--state", type=Path, default=Path("var"))
    cache = options.parse_args().state / "cache"
    data = SearchSpec.load("math_ood").base_spec.data
    prepared, test = prepare(data, cache), prepare_test(data, cache)["test"]
    scored, sizes = token_codes(test, None), (len(prepared.tokenizer),)
    for name, rows in (("with augmented rows", prepared.train), ("own rows", prepared.own_train)):
        joint, prior = chain_bits(token_codes(rows, num_counted_sentences(rows)), scored, sizes)
        print(f"{name}: {joint:.2f} joint bits a token, {prior:.2f} under a prior")


if __name__ == "__main__":
    main()
