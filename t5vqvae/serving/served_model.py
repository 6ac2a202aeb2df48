"""The model that is served, and its replacement when the alias that names it moves.

A request is answered by the model that was there when it came: requests that wait or run keep the old one, so a swap
drops none of them.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from t5vqvae.data.corpora.edits import by_space
from t5vqvae.errors import UserError
from t5vqvae.latent.code_use import WordSpans
from t5vqvae.latent.latent_space import LatentSpace


@dataclass(frozen=True, eq=False)
class ServedModel:
    """A loaded model.

    Attributes:
        space: The model.
        name: Its name: that of the registered model, or what the user gave.
        version: Its registered version; for others the run or step it comes from.
        sentences: Returns sentences of its corpus, for the pages of its codes.
        cut: Returns the places of a text's words, for the same pages.
    """

    space: LatentSpace
    name: str
    version: str
    sentences: Callable[[], Sequence[str]]
    cut: WordSpans = by_space

    @property
    def label(self) -> dict[str, str]:
        """Name and version, as answers and metrics have them."""
        return {"name": self.name, "version": self.version}


class Source(Protocol):
    """Where a served model comes from."""

    @property
    def follows(self) -> bool:
        """Whether it may move: whether an alias names it."""

    def newest(self) -> str:
        """Returns the version that the name stands for now."""

    def load(self, version: str) -> ServedModel:
        """Returns the model of a version, loaded."""


class Current:
    """The served model of this process.

    Args:
        source: Where it comes from.
        swapped: Receives the old model, None at first, and the new one.

    Raises:
        UserError: If the model cannot be loaded.
    """

    def __init__(self, source: Source, swapped: Callable[[ServedModel | None, ServedModel], None]) -> None:
        self._source, self._swapped = source, swapped
        self._reason = ""
        self.model = source.load(source.newest())
        swapped(None, self.model)

    async def follow(self, seconds: float) -> None:
        """Swaps the model when the alias has moved, looked at every few seconds; returns at once without an alias."""
        while self._source.follows:
            await asyncio.sleep(seconds)
            try:
                fresh = await asyncio.to_thread(self._moved)
            except Exception as error:  # also a fault of a library: the next look may succeed
                self._report(str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}")
                continue
            self._reason = ""
            if fresh is not None:
                old, self.model = self.model, fresh
                self._swapped(old, fresh)

    def _moved(self) -> ServedModel | None:
        version = self._source.newest()
        return None if version == self.model.version else self._source.load(version)

    def _report(self, reason: str) -> None:
        """Prints a reason why the model was not looked for or swapped, once in a row."""
        if reason != self._reason:
            self._reason = reason
            print(
                f"still serving version {self.model.version}: {' '.join(reason.split())}", file=sys.stderr, flush=True
            )
