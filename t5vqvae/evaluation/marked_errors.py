"""Reconstructions as rows of a table that shows at a glance which are exact, and where the others differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher

from t5vqvae.data.texts import same_text


def marked(samples: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Returns reconstructions with a column `exact`, and one with errors marked.

    Args:
        samples: Each with `target` and `decoded`; further columns are kept.
    """
    rows = []
    for sample in samples:
        exact = same_text(sample["target"], sample["decoded"])
        errors = "" if exact else marked_errors(sample["target"], sample["decoded"])
        rows.append({"exact": "yes" if exact else "no", **sample, "errors": errors})
    return rows


def marked_errors(target: str, decoded: str) -> str:
    """Returns the decoded text with its errors in brackets: `[-missing-]` words of the target, `{+wrong+}` ones."""
    wanted, found = target.split(), decoded.split()
    words: list[str] = []
    for kind, start, end, from_, to in SequenceMatcher(None, wanted, found, autojunk=False).get_opcodes():
        if kind == "equal":
            words += found[from_:to]
            continue
        words += [f"[-{' '.join(wanted[start:end])}-]"] if end > start else []
        words += [f"{{+{' '.join(found[from_:to])}+}}"] if to > from_ else []
    return " ".join(words)
