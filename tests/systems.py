"""The table of systems, sources and differences, made from the docstrings of the files that implement them.

`python -m tests.systems` writes `t5vqvae/SYSTEMS.md` anew. A file's docstring has three paragraphs that begin with
`Source:`, `Same:` and `Different:`.
"""

from __future__ import annotations

import importlib
from pathlib import Path

from t5vqvae.quantizers import QuantizerConfig
from t5vqvae.spec.architectures import ModelConfig

TABLE = Path(__file__).parent.parent / "t5vqvae" / "SYSTEMS.md"
FIELDS = ("Source", "Same", "Different")
INTRODUCTION = """# Systems, their sources, and what differs

Made from the docstrings by `python -m tests.systems`; edit those. Every quantizer and every architecture of the
registries has its row. `t5vqvae config --docs` lists their settings.
"""


def systems() -> dict[str, str]:
    """Returns the module of every registered quantizer and architecture, and of further parts, by its setting."""
    quantizers = {f"quantizer.name={name}": config.__module__ for name, config in QuantizerConfig.variants.items()}
    models = {f"model.name={name}": config.builder.partition(":")[0] for name, config in ModelConfig.variants.items()}
    parts = {
        "model.prompts": "t5vqvae.quantizers.prompts",
        "train.autoencode_steps": "t5vqvae.models.t5.two_stages",
        "train.gate_price": "t5vqvae.models.t5.code_gate",
        "train.word_shuffle": "t5vqvae.models.t5.code_moves",
        "train.rate_price": "t5vqvae.models.t5.code_prior",
    }
    return models | parts | quantizers


def fields(docstring: str) -> dict[str, str]:
    """Returns the three paragraphs of a docstring by their label, each in one line; those that it has."""
    found = {}
    for paragraph in docstring.split("\n\n"):
        label, _, text = " ".join(paragraph.split()).partition(": ")
        if label in FIELDS:
            found[label] = text
    return found


def table() -> str:
    """Returns the whole file."""
    lines = ["| system | source | what is the same | what differs and why |", "| --- | --- | --- | --- |"]
    for name, module in systems().items():
        said = fields(importlib.import_module(module).__doc__ or "")
        cells = [said.get(field, "").replace("|", "\\|") for field in FIELDS]
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return INTRODUCTION + "\n" + "\n".join(lines) + "\n"


if __name__ == "__main__":
    TABLE.write_text(table(), encoding="utf-8")
