"""Seeds that follow from what they are for, so that no generator's state has to be kept."""

from __future__ import annotations

import hashlib


def seed_from(*parts: object) -> int:
    """Returns a seed, in [0, 2**63), that depends on the parts alone; others give another one.

    They are hashed: a CPU generator reads the low 32 bits of its seed only
    (https://github.com/pytorch/pytorch/issues/87509), so whatever is shifted above them would be lost.
    """
    digest = hashlib.blake2b(" ".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
