"""The corpus `public`: one of the corpora of the result tables, and `fetch`, which copies one into the cache.

`sources.py` is the registry. A fetched corpus is in `CACHE/corpora/NAME`; the checksum of every file was verified.
"""

from __future__ import annotations

import shutil
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from t5vqvae.config import setting
from t5vqvae.data.checked import MANIFEST, is_intact, write_manifest
from t5vqvae.data.corpora.base import CorpusConfig
from t5vqvae.data.corpora.columns import tags_of
from t5vqvae.data.corpora.corpus import Corpus, Example
from t5vqvae.data.corpora.rows import Row, read_rows
from t5vqvae.data.corpora.sources import SOURCES, Source
from t5vqvae.data.corpora.text import Part, assemble, split_files
from t5vqvae.errors import DataError
from t5vqvae.files import atomic_write, file_sha256, locked, stamp

Progress = Callable[[str, int, int | None], None]
"""Called with a file's name, the bytes copied so far and the bytes in all (None: unknown)."""
TIMEOUT_SECONDS = 30
CHUNK_BYTES = 1 << 16


class PublicCorpus(CorpusConfig):
    """A corpus that `t5vqvae data get DATASET` has copied into the cache.

    A sentence that upstream has in two splits is dropped from the earlier one, so never from the test split.
    """

    name: Literal["public"] = "public"
    dataset: Literal["explanations", "entailment", "explanations_parsed", "summarization", "dialogue"] = "explanations"
    validation_fraction: float = setting(
        0.1, gt=0, lt=1, description="share of the training split for validation, without a validation file"
    )
    seed: int = setting(0, ge=0, description="seed of the cut into splits")

    @property
    def gives_pairs(self) -> bool:
        return self.dataset == "entailment"

    def load(self, cache_dir: Path) -> Corpus:
        files = split_files(self._folder(cache_dir))
        splits = {split: _part(self.dataset, path) for split, path in files.items()}
        source = SOURCES[self.dataset]
        fractions = (self.validation_fraction, 0.0)
        return assemble(splits, fractions, self.seed, drop=True, source=source.origin, licence=source.licence)

    def stamp(self, cache_dir: Path) -> object:
        return stamp(self._folder(cache_dir))

    def _folder(self, cache_dir: Path) -> Path:
        folder = corpus_folder(self.dataset, cache_dir)
        missing = [name for name in SOURCES[self.dataset].files if not (folder / name).is_file()]
        if missing:
            raise DataError(
                f"data.corpus.dataset={self.dataset!r} is not in the cache ({folder / missing[0]} is missing); "
                f"get it: t5vqvae data get {self.dataset}"
            )
        if (folder / MANIFEST).is_file() and not is_intact(folder):
            raise DataError(
                f"data.corpus.dataset={self.dataset!r}: a file of {folder} was changed after it was fetched; "
                f"get it anew: t5vqvae data get {self.dataset}"
            )
        return folder


def corpus_folder(name: str, cache_dir: Path) -> Path:
    """Returns the folder of the public corpus `name` in the cache."""
    return cache_dir / "corpora" / name


def fetch(
    name: str,
    into: Path,
    from_folder: Path | None = None,
    progress: Progress | None = None,
    sources: Mapping[str, Source] = SOURCES,
) -> Path:
    """Copies a public corpus into the cache, verifies it and returns its folder; a no-op if it is there already.

    Args:
        name: One of `SOURCES`.
        into: The cache's folder; the corpus goes into its `corpora/NAME`.
        from_folder: The folder of the corpus's files, or its parent folder. None: download the files.
        progress: Called as each file is copied.
        sources: The registry.

    Raises:
        DataError: If the name is unknown, a file cannot be read or downloaded, or a checksum differs.
    """
    if name not in sources:
        raise DataError(f"{name!r} is no public corpus; there are {', '.join(sources)}")
    source, folder = sources[name], corpus_folder(name, into)
    with locked(folder):
        if _is_whole(source, folder):
            return folder
        with atomic_write(folder, folder=True) as scratch:
            for file in source.files:
                if from_folder is not None:
                    _copy(name, file, from_folder, scratch / file, progress)
                else:
                    _download(name, file, source, scratch / file, progress)
                _check(name, file, source, scratch / file)
            write_manifest(scratch)
    return folder


def _is_whole(source: Source, folder: Path) -> bool:
    return all((folder / file).is_file() and file_sha256(folder / file) == sha for file, sha in source.files.items())


def _check(name: str, file: str, source: Source, path: Path) -> None:
    found = file_sha256(path)
    if found != source.files[file]:
        raise DataError(
            f"{name}/{file} has the sha256 {found[:12]}..., not {source.files[file][:12]}...: it is damaged or another "
            f"version; name a folder with the right version: t5vqvae data get {name} --from FOLDER"
        )


def _copy(name: str, file: str, folder: Path, into: Path, progress: Progress | None) -> None:
    origin = next((place for place in (folder / name / file, folder / file) if place.is_file()), None)
    if origin is None:
        raise DataError(f"--from {folder} has neither {name}/{file} nor {file}; name the folder that holds {name}")
    shutil.copyfile(origin, into)
    if progress is not None:
        progress(file, into.stat().st_size, into.stat().st_size)


def _download(name: str, file: str, source: Source, into: Path, progress: Progress | None) -> None:
    upstream = source.upstream.get(file)
    if upstream is None:
        raise DataError(
            f"{name} is our own cut of {source.origin} and cannot be downloaded; "
            f"name a folder that has it: t5vqvae data get {name} --from FOLDER"
        )
    content = bytearray()
    try:
        with urllib.request.urlopen(upstream.url, timeout=TIMEOUT_SECONDS) as response:
            size = response.headers.get("Content-Length")
            while chunk := response.read(CHUNK_BYTES):
                content += chunk
                if progress is not None:
                    progress(file, len(content), None if size is None else int(size))
        text = upstream.convert(content.decode("utf-8"))
    except (OSError, urllib.error.URLError, ValueError, LookupError) as error:
        raise DataError(
            f"{name}/{file} cannot be downloaded from {upstream.url}: {error}; try --from FOLDER"
        ) from error
    into.write_text(text, encoding="utf-8", newline="\n")


def _part(dataset: str, path: Path) -> Part:
    """Reads one of the files, letter by letter: its checksum is known. Rows of a placeholder are left out."""
    rows = list(read_rows(path))
    found = [row for row in rows if "DUMMY" not in row.cells.values()]
    examples = [_EXAMPLES[dataset](_texts(row, COLUMNS[dataset])) for row in found]
    return Part(examples, Counter({"placeholder": len(rows) - len(found)}) + Counter(), name=str(path))


def _texts(row: Row, columns: tuple[str, ...]) -> dict[str, str]:
    missing = [column for column in columns if column not in row.cells]
    if missing:
        raise DataError(f"{row.place} has no column {missing[0]!r}; fetch the corpus anew: t5vqvae data get")
    return {column: row.cells[column] for column in columns}


def _from_premises(row: Mapping[str, str]) -> Example:
    """Returns both premises as one input, each ended by T5's `</s>`."""
    return Example(row["premise1"], row["conclusion"], second=row["premise2"])


def _from_parse(row: Mapping[str, str]) -> Example:
    """Returns a part of speech for every word; no roles if the parse splits the sentence's words."""
    return Example(row["sentence"], roles=tags_of(row["sentence"], row["parse"]))


COLUMNS = {
    "explanations": ("text",),
    "entailment": ("premise1", "premise2", "conclusion"),
    "explanations_parsed": ("sentence", "parse"),
    "summarization": ("document", "summary"),
    "dialogue": ("utterance", "response"),
}
_EXAMPLES: dict[str, Callable[[Mapping[str, str]], Example]] = {
    "explanations": lambda row: Example(row["text"]),
    "entailment": _from_premises,
    "explanations_parsed": _from_parse,
    "summarization": lambda row: Example(row["document"], row["summary"]),
    "dialogue": lambda row: Example(row["utterance"], row["response"]),
}
