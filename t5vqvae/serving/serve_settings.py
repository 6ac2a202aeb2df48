"""The settings of a server."""

from __future__ import annotations

from t5vqvae.config import Config, setting


class ServeSettings(Config):
    """Limits of a server, and what it shows.

    What waits is bounded in sentences, what one request may hold in sentences, characters and bytes. Texts
    that a path or a traversal decodes count as sentences.
    """

    token: str | None = setting(None, min_length=1, description="What a caller must send; none: anybody may call.")
    page: bool = setting(False, description="Whether / is the playground.")
    max_texts: int = setting(64, ge=1, description="Most sentences of a request, given or decoded.")
    max_chars: int = setting(2000, ge=1, description="Most characters of a sentence.")
    max_batch: int = setting(64, ge=1, description="Most sentences that are computed together.")
    queue: int = setting(1024, ge=1, description="Most sentences that wait.")
    refresh_seconds: float = setting(10.0, gt=0, description="Seconds between two looks at the alias.")
    threads: int = setting(1, ge=1, description="Threads with which a worker computes.")
    sentences: int = setting(2000, ge=1, description="Training sentences that the pages of codes read.")

    @property
    def max_bytes(self) -> int:
        """Most bytes of a body: room for the sentences in JSON's longest form, and for codes."""
        return 10_000 + self.max_texts * (self.max_chars * 12)
