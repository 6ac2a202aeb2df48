"""The scores of each sentence of a model's test, in a file that names what was scored.

The file lies next to the metrics of the test, and MLflow keeps a copy with the registered version: result tables can
be compared sentence by sentence later, without the model. A promotion decides by other sentences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from t5vqvae.evaluation.scored_sentences import ScoredSentence
from t5vqvae.files import atomic_write, content_sha256

SENTENCES_FILE = "sentences.parquet"
SPLIT = "test"
_TYPES = {
    "index": "int64",
    "nll": "float64",
    "tokens": "int64",
    "correct": "int64",
    "chars": "int64",
    "exact": "bool",
    "reference": "string",
    "decoded": "string",
}
"""The columns of the file, with pyarrow's names of their types."""
BLEU = "test/bleu"


@dataclass(frozen=True)
class KeptScores:
    """The scores of each sentence of the test split.

    Attributes:
        artifact: sha256 of the files of the model that was scored.
        data: Fingerprint of the data, with `-half` for half of its test split; the order of sentences is part of it.
        source: The model's origin in words, such as `trial 3 of study quickstart`.
        sentences: The scores, in the order of the split.
    """

    artifact: str
    data: str
    source: str
    sentences: Sequence[ScoredSentence]

    def write(self, path: Path) -> Path:
        """Writes the file, atomically; returns its path."""
        import pyarrow
        import pyarrow.parquet

        schema = pyarrow.schema([(name, pyarrow.type_for_alias(alias)) for name, alias in _TYPES.items()])
        facts = {"artifact": self.artifact, "data": self.data, "split": SPLIT, "source": self.source}
        rows = [asdict(sentence) for sentence in self.sentences]
        table = pyarrow.Table.from_pylist(rows, schema=schema.with_metadata(facts))
        with atomic_write(path) as scratch:
            pyarrow.parquet.write_table(table, scratch, write_page_checksum=True)
        return path

    @classmethod
    def read(cls, path: Path) -> KeptScores | None:
        """Returns the scores in a file; None if it is missing, damaged, or of another split."""
        import pyarrow
        import pyarrow.parquet

        try:
            table = pyarrow.parquet.read_table(path, page_checksum_verification=True)
            facts = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
            rows = [ScoredSentence(**row) for row in table.to_pylist()]
            return cls(facts["artifact"], facts["data"], facts["source"], rows) if facts["split"] == SPLIT else None
        except (OSError, pyarrow.ArrowException, KeyError, TypeError, ValueError):
            return None

    def belong_to(self, artifact: str, data: str) -> bool:
        """Returns whether these are the scores of a model on given data."""
        return (self.artifact, self.data) == (artifact, data)


def artifact_digest(model: Path) -> str:
    """Returns the sha256 over names and contents of a model's files; MLflow's copy of them has the same one."""
    return content_sha256(sorted(file for file in model.rglob("*") if file.is_file()))
