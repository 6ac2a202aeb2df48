"""Counts how often the training rows show each token, and names those that they hardly show.

Sources and targets count together, because one table of embeddings serves both.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from t5vqvae.data.split import TokenizedSplit

if TYPE_CHECKING:
    from t5vqvae.data.tokenizer import Tokenizer

FEW = 50
"""Occurrences below which a token counts as hardly trained."""
NAMED = 10
"""Rare tokens that are named."""
logger = logging.getLogger(__name__)


def shown_counts(train: TokenizedSplit, tokenizer: Tokenizer) -> dict[str, int]:
    """Returns how often the training rows show each token, the rarest first.

    Padding and the token for the unknown are left out: no row has one.
    """
    counts, never = train.num_shown(len(tokenizer)), (tokenizer.pad_token_id, tokenizer.unk_token_id)
    ids = [token for token in counts.argsort(kind="stable").tolist() if token not in never]
    return dict(zip(tokenizer.convert_ids_to_tokens(ids), counts[ids].tolist(), strict=True))


def report_rare(counts: dict[str, int]) -> None:
    """Logs the tokens of an open vocabulary that the training rows hardly show.

    Args:
        counts: How often they show each token, the rarest first.
    """
    rare = [f"{token!r} {count}" for token, count in counts.items() if count < FEW]
    if not rare:
        return
    others = f" and {len(rare) - NAMED} more" if len(rare) > NAMED else ""
    logger.warning(
        "data.tokenizer.open_vocabulary=true: the training rows show %d of %d tokens fewer than %d times (%s%s); raise"
        " data.augment.join, which shows all bytes equally often",
        len(rare), len(counts), FEW, ", ".join(rare[:NAMED]), others
    )  # fmt: skip
