"""Learns the pieces of a unigram tokenizer, the same pieces in every process.

The method is Kudo's (2018, arXiv 1804.10959): start from the frequent substrings of words, estimate the probability of
each by segmenting the words, drop the pieces whose loss costs the least likelihood, and repeat until few enough are
left. Different here: the estimate uses the best segmentation of a word instead of all segmentations.

The trainer of the `tokenizers` package is not used, because it sums over hash maps and so learns different pieces in
every process, which makes two runs incomparable. It also never learns a word that is no part of another word.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

MAX_PIECE_CHARS = 16
SEEDS_A_PIECE = 4
"""Substrings to start from, for every piece that is wanted."""
SHRINK = 0.75
"""Share of the pieces that a round of pruning keeps."""


def learn_pieces(word_counts: Mapping[str, int], num_pieces: int, required: str = "") -> list[tuple[str, float]]:
    """Returns pieces with their log probabilities, most likely first.

    Args:
        word_counts: Number of occurrences of each word.
        num_pieces: Largest number of pieces; fewer are returned if fewer substrings occur twice.
        required: Characters that are always pieces, even if no word has them.
    """
    alphabet = _alphabet(word_counts, num_pieces, required)
    counts = _known_parts(word_counts, alphabet)
    scores = _normalised(_seeds(counts, alphabet, SEEDS_A_PIECE * num_pieces))
    while True:
        scores = _estimate(_estimate(scores, counts, alphabet), counts, alphabet)
        if len(scores) <= num_pieces:
            return sorted(scores.items(), key=lambda item: (-item[1], item[0]))
        scores = _prune(scores, counts, alphabet, max(num_pieces, int(SHRINK * len(scores))))


def _alphabet(word_counts: Mapping[str, int], num_pieces: int, required: str) -> set[str]:
    """Returns the characters that are pieces: the required ones and the most frequent, at most half of all pieces."""
    counts: Counter[str] = Counter()
    for word, count in word_counts.items():
        for character in word:
            counts[character] += count
    by_count = sorted(counts, key=lambda character: (-counts[character], character))
    return set(required) | set(by_count[: num_pieces // 2])


def _known_parts(word_counts: Mapping[str, int], alphabet: set[str]) -> dict[str, int]:
    """Cuts the words at every character that is no piece, and returns the counts of the parts."""
    parts: Counter[str] = Counter()
    for word in sorted(word_counts):
        for part in "".join(c if c in alphabet else "\n" for c in word).split("\n"):
            if part:
                parts[part] += word_counts[word]
    return dict(parts)


def _seeds(word_counts: Mapping[str, int], alphabet: set[str], number: int) -> dict[str, float]:
    """Returns the substrings that cover the most text, with their cover: occurrences times characters."""
    found: Counter[str] = Counter()
    for word, count in word_counts.items():
        for start in range(len(word)):
            for end in range(start + 2, min(len(word), start + MAX_PIECE_CHARS) + 1):
                found[word[start:end]] += count
    cover = {piece: float(count * len(piece)) for piece, count in found.items() if count > 1}
    best = sorted(cover, key=lambda piece: (-cover[piece], piece))[:number]
    return {character: 1.0 for character in sorted(alphabet)} | {piece: cover[piece] for piece in best}


def _estimate(scores: dict[str, float], word_counts: Mapping[str, int], alphabet: set[str]) -> dict[str, float]:
    """Returns the log probabilities of the pieces in the best segmentations; single characters always stay."""
    used = {character: 0.5 for character in sorted(alphabet)}
    for word, pieces in _segmented(scores, list(word_counts)):
        for piece in pieces:
            used[piece] = used.get(piece, 0.0) + word_counts[word]
    return _normalised(used)


def _prune(
    scores: dict[str, float], word_counts: Mapping[str, int], alphabet: set[str], number: int
) -> dict[str, float]:
    """Keeps the `number` pieces whose loss would cost the most likelihood, all characters included."""
    used: Counter[str] = Counter()
    for word, pieces in _segmented(scores, list(word_counts)):
        for piece in pieces:
            used[piece] += word_counts[word]
    cost = {p: used[p] * (scores[p] - _score_without(p, scores)) for p in scores if p not in alphabet}
    kept = sorted(cost, key=lambda piece: (-cost[piece], piece))[: max(0, number - len(alphabet))]
    return {piece: scores[piece] for piece in [*sorted(alphabet), *kept]}


def _segmented(scores: dict[str, float], words: list[str]) -> list[tuple[str, list[str]]]:
    from tokenizers import Tokenizer, models

    model = Tokenizer(models.Unigram(list(scores.items())))
    return [(word, found.tokens) for word, found in zip(words, model.encode_batch(words), strict=True)]


def _score_without(piece: str, scores: dict[str, float]) -> float:
    """Returns the log probability of the best segmentation of `piece` into other pieces."""
    best = [0.0] + [-math.inf] * len(piece)
    for end in range(1, len(piece) + 1):
        for start in range(end):
            part = piece[start:end]
            if part != piece and part in scores:
                best[end] = max(best[end], best[start] + scores[part])
    return best[-1]


def _normalised(counts: Mapping[str, float]) -> dict[str, float]:
    total = math.log(sum(counts.values()))
    return {piece: math.log(count) - total for piece, count in counts.items()}
