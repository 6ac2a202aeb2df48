"""Examples of traversals and splices for any corpus with codes a token, drawn at random and never chosen.

Nobody knows the right answer of an edit here, but copying has one: a splice of a donor's word in place of a word should
give the source's reconstruction with that word instead. So what is measured:

- `swap_locality`: share of the other words of a reconstruction that stay when one code of a word takes another value in
  its neighbourhood, over swaps that change the text. Of reconstructions with as many words as their text: elsewhere
  nobody knows which word the code stands for.
- `splice_copied`: share of splices after which the text is the reconstruction with the donor's word in place. The
  donor's word is always another one, so a decoder that ignores codes copies none.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from t5vqvae.data.corpora.base import CorpusConfig
from t5vqvae.data.corpora.edits import Span
from t5vqvae.data.texts import kept_places, same_text
from t5vqvae.latent.intervention import spliced
from t5vqvae.latent.latent_space import LatentSpace
from t5vqvae.latent.sentence import Sentence, tokens_of
from t5vqvae.latent.traversal import traverse
from t5vqvae.measures.base import Found, Probed, Row, measure
from t5vqvae.measures.traversals import word_numbers
from t5vqvae.stages import stage

NUM_SENTENCES, NUM_NEAREST = 40, 5
NUM_SHOWN = 15


@measure("examples")
def examples(probed: Probed) -> Found:
    """Shows random traversals and splices, and measures what they leave alone."""
    if probed.model.leaks or not probed.model.has_codes or len(probed.texts) < 2:
        return Found()
    rng, space = random.Random(f"{probed.seed} examples"), probed.space()
    with stage("drawing examples"):
        sentences = space.encode(rng.sample(probed.texts, min(NUM_SENTENCES, len(probed.texts))))
        if not all(each.by_token for each in sentences):
            return Found()
        plain = space.reconstruct(sentences)
        corpus = probed.spec.data.corpus
        pairs = zip(sentences, plain, strict=True)
        swaps = [row for each, text in pairs for row in _swaps(space, each, text, rng, corpus)]
        splices = _splices(space, sentences, plain, rng, corpus)
    kept = [float(row["kept"]) for row in swaps if row["kept"] is not None]
    copied = [row["copied"] == "yes" for row in splices]
    metrics = {"examples/splice_copied": sum(copied) / len(copied)} if copied else {}
    metrics |= {"examples/swap_locality": sum(kept) / len(kept)} if kept else {}
    some = rng.sample(swaps, min(NUM_SHOWN, len(swaps)))
    return Found(metrics, {"Traversals, drawn at random": some, "Splices, drawn at random": splices[:NUM_SHOWN]})


def _swaps(space: LatentSpace, sentence: Sentence, plain: str, rng: random.Random, corpus: CorpusConfig) -> list[Row]:
    """Returns a sentence with the code at one random word replaced by its nearest codes."""
    position = rng.randrange(max(1, len(sentence.tokens) - 1))
    token, words, spans = sentence.tokens[position], corpus.words(plain), corpus.word_spans(sentence.text)
    own = word_numbers(sentence, spans)[position]
    is_known = own is not None and len(words) == len(spans) > 1
    found: list[Row] = []
    for swap in traverse(space, sentence, [position], NUM_NEAREST):
        kept: float | None = None
        if is_known and not same_text(swap.text, plain):
            kept = len(kept_places(words, corpus.words(swap.text)) - {own}) / (len(words) - 1)
        found.append({"source": plain, "token": token, "code": swap.code, "decoded": swap.text, "kept": kept})
    return found


def _splices(
    space: LatentSpace,
    sentences: Sequence[Sentence],
    plain: Sequence[str],
    rng: random.Random,
    corpus: CorpusConfig,
) -> list[Row]:
    """Returns sentences with a random word replaced by another word, drawn from the sentence before it.

    A sentence whose drawn word is the only one of its donor has no splice.
    """
    drawn, prompts = [], []
    for place, sentence in enumerate(sentences):
        donor = sentences[place - 1]
        spans, donor_spans = _words_with_tokens(sentence, corpus), _words_with_tokens(donor, corpus)
        number = rng.randrange(len(spans))
        own = sentence.text[slice(*spans[number])]
        same = {own, *corpus.words(plain[place])[number : number + 1]}
        others = [n for n, span in enumerate(donor_spans) if donor.text[slice(*span)] not in same]
        if not others:
            continue
        other = rng.choice(others)
        codes_TQ = spliced(
            sentence.latent_TX,
            tokens_of(sentence.spans, spans[number]),
            donor.latent_TX,
            tokens_of(donor.spans, donor_spans[other]),
        )
        drawn.append((plain[place], number, donor.text[slice(*donor_spans[other])], codes_TQ))
        prompts.append(sentence.prompt_codes_PQ)
    texts = space.decode([codes for *_, codes in drawn], prompts)
    found: list[Row] = []
    for (source, number, word, _), text in zip(drawn, texts, strict=True):
        words = corpus.words(source)
        copied = "yes" if corpus.words(text) == [*words[:number], word, *words[number + 1 :]] else "no"
        found.append({"source": source, "word": number, "donor's word": word, "decoded": text, "copied": copied})
    return found


def _words_with_tokens(sentence: Sentence, corpus: CorpusConfig) -> list[Span]:
    """Returns the words of a sentence; what stands between two texts is none, see `t5vqvae.latent.two_texts`."""
    spans = corpus.word_spans(sentence.text)
    return [(start, end) for start, end in spans if any(max(start, a) < min(end, b) for a, b in sentence.spans)]
