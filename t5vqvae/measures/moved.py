"""Control over edits whose answer is printed in another order, judged by meaning.

The printer of mathematics sorts terms and factors. After such an edit a model may write the right expression in the
order of the source, which `control.py` would count as wrong; so these edits are a second set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from t5vqvae.data.corpora.edits import Edit
from t5vqvae.files import digest
from t5vqvae.latent.intervention import apply_edits
from t5vqvae.measures.base import Found, Probed, Row, measure
from t5vqvae.measures.control import EDITS_VERSION, KINDS, kept_edits
from t5vqvae.stages import stage

NUM_SHOWN = 10
FEWER = 16
"""By how much fewer edits of a factor are drawn than `control.py` makes in all: most edits print in place."""

KEYS: Mapping[str, str] = {
    "local": "control/moved_local_intervention",
    "distributed": "control/moved_distributed_intervention",
}


@measure("moved")
def moved(probed: Probed) -> Found:
    """Measures whether edits of codes change the meaning as they should, where the answer is printed anew."""
    if not probed.spec.data.corpus.has_edits or probed.model.leaks:
        return Found()
    edits = _edits(probed)
    if not edits:
        return Found()
    with stage("editing codes"):
        space = probed.space()
        texts = list(dict.fromkeys(text for edit in edits for text in (edit.source, edit.donor)))
        decoded = apply_edits(space, edits, dict(zip(texts, space.encode(texts), strict=True)))
    return found_of(edits, decoded, probed.spec.data.corpus.same_meaning)


def found_of(edits: list[Edit], decoded: list[str], judge: Callable[[str, str], str]) -> Found:
    """Returns the shares of verdicts over edits, and the first edits."""
    verdicts = [judge(edit.answer, text) for edit, text in zip(edits, decoded, strict=True)]
    by_kind = {kind: [v for e, v in zip(edits, verdicts, strict=True) if e.kind == kind] for kind in KINDS}
    metrics = {KEYS[kind]: own.count("right") / len(own) for kind, own in by_kind.items() if own}
    metrics |= {
        "control/moved_printed": sum(e.answer == text for e, text in zip(edits, decoded, strict=True)) / len(edits),
        "control/moved_undecided": verdicts.count("undecided") / len(edits),
    }
    rows: list[Row] = [
        {"factor": e.factor, "source": e.source, "answer": e.answer, "decoded": text, "meaning": verdict}
        for e, text, verdict in zip(edits[:NUM_SHOWN], decoded, verdicts, strict=False)
    ]
    return Found(metrics, {"Edits judged by meaning": rows})


def _edits(probed: Probed) -> list[Edit]:
    corpus, cache, split, seed = probed.spec.data.corpus, probed.cache_dir, probed.split_name, probed.seed
    number = max(1, probed.num_edits // FEWER)
    key = digest("moved", EDITS_VERSION, corpus.as_dict(), corpus.stamp(cache), split, number, seed)
    with stage("finding edits that are printed anew"):
        return kept_edits(cache / "edits" / f"{key[:24]}.jsonl", lambda: corpus.moved_edits(cache, split, number, seed))
