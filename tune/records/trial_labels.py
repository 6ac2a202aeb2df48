"""Says the labels of a trial in words: what every reader of its numbers must see."""

from __future__ import annotations

from collections.abc import Mapping

LABEL = "label/"
"""The first part of the tags that label a run; `t5vqvae.training.labels`, which needs torch, sets them."""


def labels_of(tags: Mapping[str, str]) -> dict[str, str]:
    """Returns the labels among the tags of a trial, such as `names tokens`, each with what it rests on."""
    return {name.removeprefix(LABEL).replace("_", " "): text for name, text in tags.items() if name.startswith(LABEL)}


def labels_in_words(tags: Mapping[str, str]) -> str:
    """Returns the labels of a trial, such as `names tokens, augmented`; empty for most trials."""
    return ", ".join(labels_of(tags))
