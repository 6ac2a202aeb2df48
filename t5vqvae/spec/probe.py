"""The spec of a probe: what a trained model is measured for, and on how much."""

from __future__ import annotations

from typing import Literal

from t5vqvae.config import Config, LocalPath, setting

CODE_MAP = "Map of the codebook"
EDIT_CHANGES = "What each edit changed"
PATHS = "Paths, drawn at random"
"""Tables of a probe that its page does not show row by row: two are drawn, and paths stand side by side."""


class ProbeSpec(Config):
    """One probe of a trained model."""

    suite: Literal["quick", "full"] = setting("quick", description="quick: under a minute on two cores; full: minutes")
    split: Literal["validation", "test"] = setting("validation", description="sentences and edits are from it")
    sentences: int | None = setting(None, ge=2, description="sentences to read; None: 500, in the full suite 2000")
    edits: int | None = setting(None, ge=1, description="edits to make; None: 400, in the full suite 2000")
    unsent: float | None = setting(
        None, gt=0, description="nats of a sentence below which codes are left out, for sparse control; None: without"
    )
    labels: LocalPath | None = setting(
        None, description="file of `sentence & labels` lines, or a table of the two: parts of speech or roles of words"
    )
    encoder: LocalPath | None = setting(
        None,
        description="checkpoint of one autoencoder for all models, in whose states paths are judged; None: without",
    )
    earlier: LocalPath | None = setting(
        None, description="earlier checkpoint of the model's run, since which codes and entries drifted; None: without"
    )
    seed: int = setting(0, ge=0, description="seed of every random choice")

    @property
    def num_sentences(self) -> int:
        """Sentences to read."""
        return self.sentences or (2_000 if self.suite == "full" else 500)

    @property
    def num_edits(self) -> int:
        """Edits to make."""
        return self.edits or (2_000 if self.suite == "full" else 400)

    @property
    def num_paths(self) -> int:
        """Paths between sentences to decode."""
        return 300 if self.suite == "full" else 60
