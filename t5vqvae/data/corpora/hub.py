"""The corpus `hub`: a data set of the Hugging Face hub, by name or in a local folder, read with `datasets`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from t5vqvae.config import LocalOrHub, setting
from t5vqvae.data.corpora.base import Corpus, CorpusConfig
from t5vqvae.data.corpora.text import assemble, import_datasets, to_examples
from t5vqvae.errors import DataError
from t5vqvae.files import stamp


class HubCorpus(CorpusConfig):
    """A data set of the hub. Without a `revision`, the first download of the main branch is cached and used again."""

    name: Literal["hub"] = "hub"
    dataset: LocalOrHub = setting(description="as on the hub (owner/name), or a local folder")
    subset: str | None = setting(None, description="the data set's configuration, if it has several")
    revision: str | None = setting(None, description="branch, tag or commit on the hub")
    source_column: str = "text"
    target_column: str | None = setting(None, description="None: reconstruct the source")
    train_split: str = "train"
    validation_split: str | None = setting("validation", description="None: cut from the training split")
    test_split: str | None = setting("test", description="None: cut from the training split")
    validation_fraction: float = setting(
        0.1, gt=0, lt=1, description="share of the sentences for validation, without validation_split"
    )
    test_fraction: float = setting(0.1, ge=0, lt=1, description="share of the sentences for test, without test_split")
    drop_shared: bool = setting(False, description="drop from every split the sentences that a later split also has")
    seed: int = setting(0, ge=0, description="seed of the cut into splits")

    def load(self, cache_dir: Path) -> Corpus:
        loaded = self._load_dataset(cache_dir / "datasets")
        names = {"train": self.train_split, "validation": self.validation_split, "test": self.test_split}
        splits = {}
        for split, name in names.items():
            if name is not None and name not in loaded:
                raise DataError(
                    f"data.corpus.{split}_split={name!r} is no split of {self.dataset}; it has {', '.join(loaded)}"
                    + ("; name one" if split == "train" else "; name one, or null to cut it from the training split")
                )
            if name is not None:
                splits[split] = to_examples(loaded[name], self.source_column, self.target_column, self.dataset)
        fractions = (self.validation_fraction, self.test_fraction)
        return assemble(splits, fractions, self.seed, drop=self.drop_shared, source=self.dataset)

    def stamp(self, cache_dir: Path) -> object:
        folder = Path(self.dataset).expanduser()
        return stamp(folder) if folder.exists() else None

    def _load_dataset(self, folder: Path) -> Any:
        datasets = import_datasets(f"data.corpus.dataset={self.dataset!r}")
        try:
            return datasets.load_dataset(self.dataset, self.subset, revision=self.revision, cache_dir=str(folder))
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise DataError(
                f"data.corpus.dataset={self.dataset!r} cannot be loaded: {reason}; check name and network"
            ) from error
