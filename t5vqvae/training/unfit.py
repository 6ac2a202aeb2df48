"""Refuses settings that no run may begin with, or that its data give no meaning, before a model is built."""

from __future__ import annotations

from t5vqvae.data import PreparedData
from t5vqvae.errors import SettingError
from t5vqvae.spec.architectures import DRAWN_POSITIONS
from t5vqvae.spec.run import RunSpec, no_premises


def refuse_new(spec: RunSpec) -> None:
    """Refuses to begin a run that earlier versions began.

    It is no part of validation: what they left is still read, measured and resumed.

    Raises:
        SettingError: With the way out.
    """
    spec.quantizer.refuse_unread()
    refuse_long_texts(spec)


def refuse_long_texts(spec: RunSpec) -> None:
    """Refuses texts with more tokens than the model has positions, with which no training comes to its end.

    Raises:
        SettingError: With the way out.
    """
    spec.model.refuse_lengths(spec.data.max_length, spec.data.max_target_length, spec.evaluate.max_new_tokens)


def refuse_unfit(spec: RunSpec, prepared: PreparedData) -> None:
    """Refuses settings for other targets than the data have.

    Raises:
        SettingError: With the way out.
    """
    steps, drawn = spec.train.autoencode_steps, getattr(spec.model, "cross_positions", None)
    if steps and not prepared.train.has_targets:
        raise SettingError(
            f"train.autoencode_steps={steps} needs a corpus whose targets are not its sources: without a task the"
            " second stage would learn what the first did; leave it out"
        )
    if getattr(spec.model, "premises", "joint") == "separate" and not prepared.train.has_pairs:
        raise no_premises(spec)
    if drawn in DRAWN_POSITIONS and prepared.train.has_targets:
        raise SettingError(
            f"model.cross_positions={drawn} gives a text as many positions as its source is long, which says nothing of"
            " a target that is not the source; take absolute or relative"
        )
    if spec.train.word_shuffle and (prepared.train.has_pairs or prepared.train.has_targets):
        raise SettingError(
            f"train.word_shuffle={spec.train.word_shuffle} would hide the order of a source whose target is another"
            f" text, as those of data.corpus.name={spec.data.corpus.name} are; leave it out"
        )
