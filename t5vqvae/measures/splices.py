"""Splice accuracy: does a phrase that is moved between the codes of two sentences come out where it was put?

The corpus gives splices with known answers (`CorpusConfig.splices`). The codes of the span's tokens go from the donor
to the source, those of "and" come from the encoding of the answer, and the decoded text is right if it is the answer.
The share of splices that leave the text as it was stands next to it; ignoring a splice is never right. Prompts are the
source's.

Letters: M positions of the result, X what a position has (codes, or a vector).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor

from t5vqvae.data.corpora.edits import Splice
from t5vqvae.data.texts import same_text
from t5vqvae.latent.intervention import spliced
from t5vqvae.latent.latent_space import LatentSpace
from t5vqvae.latent.sentence import Sentence, tokens_of
from t5vqvae.measures.base import Found, Probed, Row, measure
from t5vqvae.stages import stage

NUM_SHOWN = 5
"""Of each kind."""


def spliced_latent(source: Sentence, donor: Sentence, joined: Sentence, splice: Splice) -> Tensor:
    """Returns the latent of a splice, shape (M, X); `joined` is the encoded answer, whose "and" is taken."""
    first, end = tokens_of(donor.spans, splice.donor_span)
    if splice.kind == "conjunction":
        start = len(splice.source) + 1
        place, stop = tokens_of(joined.spans, (start, start + len("and")))
        joining_MX = joined.latent_TX[place:stop]
        return torch.cat([source.latent_TX[:-1], joining_MX, donor.latent_TX[first:end], source.latent_TX[-1:]])
    start, stop = splice.source_span
    place, behind = tokens_of(source.spans, (start, max(stop, start + 1)))
    return spliced(source.latent_TX, (place, place if start == stop else behind), donor.latent_TX, (first, end))


def decode_splices(space: LatentSpace, splices: Sequence[Splice]) -> list[tuple[str, str]]:
    """Returns the text after every splice, and the source's text without it; none with one latent a sentence."""
    texts = list(dict.fromkeys(text for each in splices for text in (each.source, each.donor, each.answer)))
    encoded = dict(zip(texts, space.encode(texts), strict=True))
    if not all(sentence.by_token for sentence in encoded.values()):
        return []
    sources = [encoded[each.source] for each in splices]
    latents = [spliced_latent(encoded[e.source], encoded[e.donor], encoded[e.answer], e) for e in splices]
    decoded = space.decode(latents, [source.prompt_codes_PQ for source in sources])
    return list(zip(decoded, space.reconstruct(sources), strict=True))


@measure("splices")
def splices(probed: Probed) -> Found:
    """Measures how many splices come out as they should, by kind."""
    corpus = probed.spec.data.corpus
    if probed.model.leaks:
        return Found()
    some = corpus.splices(probed.cache_dir, probed.split_name, max(1, probed.num_edits // 8), probed.seed)
    if not some:
        return Found()
    with stage("splicing"):
        longest = max(probed.spec.max_new_tokens, 2 * probed.spec.data.max_length)
        decoded = decode_splices(probed.space(longest), some)
    return found_of(some, decoded)


def found_of(some: Sequence[Splice], decoded: Sequence[tuple[str, str]]) -> Found:
    """Returns the metrics and examples of decoded splices."""
    right: dict[str, list[bool]] = defaultdict(list)
    shown: dict[str, list[Row]] = defaultdict(list)
    unchanged = [same_text(text, plain) for text, plain in decoded]
    for splice, (text, _) in zip(some, decoded, strict=bool(decoded)):
        right[splice.kind].append(same_text(text, splice.answer))
        shown[splice.kind].append({"kind": splice.kind, "source": splice.source, "donor": splice.donor,
                                   "answer": splice.answer, "decoded": text})  # fmt: skip
    metrics = {f"splice/{kind}": sum(each) / len(each) for kind, each in right.items()}
    if decoded:
        metrics["splice/unchanged_share"] = sum(unchanged) / len(unchanged)
    return Found(metrics, {"Splices": [row for rows in shown.values() for row in rows[:NUM_SHOWN]]})
