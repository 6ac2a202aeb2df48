"""The registry of public corpora: the origin of each, its licence, and its files with their checksums.

To add a corpus, give it an entry in `SOURCES`. The checksums are those of our own splits; no sentence is in two of
them. If an upstream file maps onto a split, `upstream` names its address and the conversion. The other corpora are our
own cut of the upstream ones, so they come only from a folder or a mirror (`--from`).

Not verified: that the upstream files of today still convert to files with our checksums; only the conversion was
tested, on the first lines of the upstream files. A fetch whose checksum differs is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Upstream:
    """An upstream file, and the function that converts its text to our file."""

    url: str
    convert: Callable[[str], str]


@dataclass(frozen=True)
class Source:
    """A public corpus: what it is, where it comes from, and its files."""

    description: str
    origin: str
    """Repository or paper, for human readers."""
    licence: str
    files: Mapping[str, str]
    """File name to sha256."""
    upstream: Mapping[str, Upstream] = field(default_factory=dict)
    """File name to its upstream file; empty: the corpus cannot be downloaded."""


def convert_parses(text: str) -> str:
    """Converts lines of `sentence & parse` to a TSV of sentence and parse; equal lines become one."""
    pairs = [line.rpartition(" & ") for line in text.split("\n") if " & " in line]
    rows = dict.fromkeys(f"{sentence.strip()}\t{parse.strip()}" for sentence, _, parse in pairs)
    return "\n".join(["sentence\tparse", *rows]) + "\n"


def convert_abstracts(text: str) -> str:
    """Converts JSON lines with lists of sentences to a TSV of abstract and first summary."""
    rows = [json.loads(line) for line in text.split("\n") if line]
    pairs = (f"{_collapse(' '.join(row['source']))}\t{_collapse(row['target'][0])}" for row in rows)
    return "\n".join(["document\tsummary", *pairs]) + "\n"


def _collapse(text: str) -> str:
    return " ".join(text.split())


_PARSES = (
    "https://raw.githubusercontent.com/SnowYJ/sem_syn_separation/1f303673c849eb36f96d4a48646d9f9a1265eb8d"
    "/natural_language_dataset/explanations_parse_{}.txt"
)
_ABSTRACTS = (
    "https://raw.githubusercontent.com/allenai/scitldr/335d4cb6dab71adce37b091ef5767d76d736d36c"
    "/SciTLDR-Data/SciTLDR-A/{}.jsonl"
)

SOURCES: dict[str, Source] = {
    "explanations": Source(
        "explanatory sentences of WorldTree, one a line",
        "EntailmentBank's WorldTree sentences, https://github.com/allenai/entailment_bank",
        "Apache-2.0 (EntailmentBank); the WorldTree tablestore itself: CC BY-SA 4.0",
        {
            "train.txt": "573acd2a0f17ffc13eb8e0c42f44e5be7bf13b9668a69b89b6c3cfdb918e4715",
            "validation.txt": "a7df1a99fa5646d23609b32597696885a608f905bb9954b6b0cb44ae0bd5258e",
            "test.txt": "2bcc3c5a2f4f828079764a74b9ff446fc5e1c9d344afc8fe130c3f4b44e817a8",
        },
    ),
    "entailment": Source(
        "two premises and their conclusion",
        "EntailmentBank's single steps with two premises, https://github.com/allenai/entailment_bank",
        "Apache-2.0",
        {
            "train.tsv": "0e59a5ac711c5b0fdfe272a05378a5521245c880f2287a2f1b7fc08953ba57cf",
            "validation.tsv": "10dda96b803df5173e273eb7c96586a0cf95efd69ed5c8b60979c11c6de08987",
            "test.tsv": "3156784ad2fd5d8d89d113bb81ede1125c8cabbbca8f050decf81bd288419cfb",
        },
    ),
    "explanations_parsed": Source(
        "explanatory sentences with their constituency parses",
        "https://github.com/SnowYJ/sem_syn_separation",
        "MIT",
        {
            "train.tsv": "b2a4235c2674ad48058eefa5ca8dbd600811ba76ad64c38fdd3d3f69d01940be",
            "test.tsv": "2ed35360c9c1ecd7b9b3ddb2370472c961bb928ea105e15e4f64a7722a64a401",
        },
        {
            "train.tsv": Upstream(_PARSES.format("tr"), convert_parses),
            "test.tsv": Upstream(_PARSES.format("te"), convert_parses),
        },
    ),
    "summarization": Source(
        "scientific abstracts and their one-sentence summaries",
        "SciTLDR, https://github.com/allenai/scitldr",
        "Apache-2.0",
        {
            "train.tsv": "9db43016a1f5114b872411d87afa4d046f8d0261351f44ad6e9337dd05b4ef6d",
            "validation.tsv": "76b53a2f09a56e80a7ff239375728049e79d5559c57b1bd33ac1d7aa9320613c",
            "test.tsv": "be81557dcec27fc698fb3de2865766b6107a47c3f7f936c5b4c51d455ad18e22",
        },
        {
            "train.tsv": Upstream(_ABSTRACTS.format("train"), convert_abstracts),
            "validation.tsv": Upstream(_ABSTRACTS.format("dev"), convert_abstracts),
            "test.tsv": Upstream(_ABSTRACTS.format("test"), convert_abstracts),
        },
    ),
    "dialogue": Source(
        "utterances of people ordering coffee and the replies to them",
        "Taskmaster-4, Google, https://github.com/google-research-datasets/Taskmaster, arXiv 2403.10704",
        "CC BY 4.0",
        {
            "train.tsv": "fc085800ad322c35d0efc2978acfd9ae61aa0209122c9c59fe9952a882cfabf0",
            "validation.tsv": "eef721b1bef4bd2e3dc7bbc643ec76d600b9d5f0bee9d4ef25a0d030b3591c33",
            "test.tsv": "1b0ed71c80510108da80082ff9dcdb79ea731788f955dccd876356d5048b4bed",
        },
    ),
}
