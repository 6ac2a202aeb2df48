"""What a run reads besides its settings, as hashes: the content of its data, and of a local backbone's files.

The one rule of resuming: a run resumes on the same resolved settings and the same sources, or not at all. The settings
are in the checkpoint's `spec.json`, the hashes in its `milestone.json`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from t5vqvae.spec.run import RunSpec, backbone_fingerprint

DATA, BACKBONE = "data_fingerprint", "backbone_fingerprint"
"""The keys of both hashes in a stored milestone."""


def sources_of(spec: RunSpec, cache_dir: Path) -> dict[str, str]:
    """Returns the hashes of what a run reads; quick where the files are unchanged, since they are read once.

    Args:
        spec: The run.
        cache_dir: Cache of tokenized data.

    Raises:
        DataError: If the data cannot be prepared.
    """
    from t5vqvae.data import prepare

    data = prepare(spec.data, cache_dir, backbone=spec.model.backbone).fingerprint
    backbone = backbone_fingerprint(spec.model.backbone)
    return {DATA: data} | ({BACKBONE: backbone} if backbone else {})


def changed_source(stored: Mapping[str, object], sources: Mapping[str, str], spec: RunSpec) -> str | None:
    """Returns the source of a stored milestone that has another content now, in words; None if there is none.

    Args:
        stored: The milestone; one of an older version may lack a hash.
        sources: As `sources_of` returns them.
        spec: The run, for the words.
    """
    if stored.get(DATA, sources.get(DATA)) != sources.get(DATA):
        corpus = spec.data.corpus
        return f"the data (data.corpus.name={corpus.name}{_path_of(corpus)})"
    if stored.get(BACKBONE, sources.get(BACKBONE)) != sources.get(BACKBONE):
        return f"the backbone (model.backbone={spec.model.backbone})"
    return None


def _path_of(corpus: object) -> str:
    path = getattr(corpus, "path", None)
    return f", {path}" if path else ""
