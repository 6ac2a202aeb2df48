"""Seeds by purpose: each seed is a hash of what it is for, so no generator state has to be stored."""

from __future__ import annotations

import hashlib


def seed_from(*parts: object) -> int:
    """Returns a seed in [0, 2**63) that depends on the parts alone; other parts give another seed."""
    # Hashed, not shifted together: a CPU generator reads only the low 32 bits of its seed
    # (https://github.com/pytorch/pytorch/issues/87509), so parts shifted above them would be lost.
    digest = hashlib.blake2b(" ".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
