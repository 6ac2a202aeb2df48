"""Generated corpora in a file of the cache, for those that take longer to generate than to read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from t5vqvae.data.checked import kept_file
from t5vqvae.data.corpora.corpus import Corpus, Example


def load_kept(path: Path, build: Callable[[], Corpus]) -> Corpus:
    """Returns the corpus cached in the file `path`; builds and writes it first when it is missing or damaged.

    The file's name must depend on everything that decides the content.
    """
    return _read(kept_file(path, lambda scratch: _write(build(), scratch)))


def _write(corpus: Corpus, path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(json.dumps([corpus.source, corpus.licence, list(corpus.extra_tests)]) + "\n")
        for name, examples in corpus.splits.items():
            file.writelines(json.dumps([name, e.source, e.target, e.roles, e.second]) + "\n" for e in examples)


def _read(path: Path) -> Corpus:
    with path.open(encoding="utf-8") as file:
        source, licence, extra = json.loads(next(file))
        splits: dict[str, list[Example]] = {name: [] for name in ("train", "validation", "test", *extra)}
        for name, text, target, roles, second in map(json.loads, file):
            splits[name].append(Example(text, target, None if roles is None else tuple(roles), second))
    main = {name: splits.pop(name) for name in ("train", "validation", "test")}
    return Corpus(main["train"], main["validation"], main["test"], splits, source, licence)
