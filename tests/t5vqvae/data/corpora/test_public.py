from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from places import SHARED_DATA

from t5vqvae.data import SOURCES, Example, PublicCorpus, corpus_folder, fetch
from t5vqvae.data.checked import write_manifest
from t5vqvae.data.corpora.public import _from_parse
from t5vqvae.data.corpora.sources import Source, Upstream, convert_abstracts, convert_parses
from t5vqvae.errors import DataError

needs_shared = pytest.mark.skipif(not SHARED_DATA.is_dir(), reason=f"needs the corpora's folder {SHARED_DATA}")

RAW = "milk is a food  & (S (NP milk)) \nthere is a  cloth  & (S x) \nmilk is a food  & (S (NP milk)) \n"
CONVERTED = "sentence\tparse\nmilk is a food\t(S (NP milk))\nthere is a  cloth\t(S x)\n"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "raw.txt").write_text(RAW)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


def _source(url: str, content: str = CONVERTED) -> dict[str, Source]:
    sha = hashlib.sha256(content.encode()).hexdigest()
    return {"toy": Source("toy", "here", "MIT", {"train.tsv": sha}, {"train.tsv": Upstream(url, convert_parses)})}


def test_fetches_converts_and_checks(server: str, tmp_path: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    folder = fetch("toy", tmp_path, progress=lambda *args: told.append(args), sources=_source(f"{server}/raw.txt"))
    assert folder == corpus_folder("toy", tmp_path)
    assert (folder / "train.tsv").read_text() == CONVERTED
    assert told[-1] == ("train.tsv", len(RAW), len(RAW))


def test_what_is_there_is_not_fetched_again(server: str, tmp_path: Path) -> None:
    fetch("toy", tmp_path, sources=_source(f"{server}/raw.txt"))
    gone = _source("http://127.0.0.1:9/raw.txt")
    fetch("toy", tmp_path, sources=gone)
    (corpus_folder("toy", tmp_path) / "train.tsv").write_text("damaged")
    with pytest.raises(DataError, match=r"cannot be downloaded from http://127.0.0.1:9"):
        fetch("toy", tmp_path, sources=gone)


@pytest.mark.parametrize("path", ["missing.txt", "raw.txt"])
def test_a_failed_fetch_leaves_nothing(server: str, path: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be downloaded|damaged or another version"):
        fetch("toy", tmp_path, sources=_source(f"{server}/{path}", "something else"))
    assert [p.name for p in (tmp_path / "corpora").iterdir()] == ["toy.lock"]


def test_from_a_folder(tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    (origin / "toy").mkdir(parents=True)
    (origin / "toy" / "train.tsv").write_text(CONVERTED)
    sources = _source("")
    for number, given in enumerate((origin, origin / "toy")):
        folder = fetch("toy", tmp_path / str(number), from_folder=given, sources=sources)
        assert (folder / "train.tsv").read_text() == CONVERTED
    with pytest.raises(DataError, match=r"neither toy/train.tsv nor train.tsv"):
        fetch("toy", tmp_path / "2", from_folder=tmp_path, sources=sources)


def test_errors_give_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'explanation' is no public corpus; there are explanations, entailment"):
        fetch("explanation", tmp_path)
    with pytest.raises(DataError, match=r"our own cut .* --from FOLDER"):
        fetch("dialogue", tmp_path)
    with pytest.raises(DataError, match=r"get it: t5vqvae data get dialogue"):
        PublicCorpus(dataset="dialogue").load(tmp_path)


def test_a_file_that_was_changed_after_the_fetch_is_refused(tmp_path: Path) -> None:
    """Only a fetched folder has checksums: what was put there by hand is read as it is."""
    folder = corpus_folder("explanations", tmp_path)
    folder.mkdir(parents=True)
    for number, file in enumerate(SOURCES["explanations"].files):
        (folder / file).write_text(f"sentence {number}")
    assert len(PublicCorpus().load(tmp_path).train) == 1
    write_manifest(folder)
    PublicCorpus().load(tmp_path)
    (folder / "train.txt").write_text("sentence 7")
    with pytest.raises(DataError, match=r"changed after it was fetched; get it anew: t5vqvae data get explanations"):
        PublicCorpus().load(tmp_path)


def test_what_is_not_used_is_counted(tmp_path: Path) -> None:
    folder = corpus_folder("dialogue", tmp_path)
    folder.mkdir(parents=True)
    rows = {"train": ["a\tb", "DUMMY\tc", "d\te", "f\tg"], "validation": ["d\th", "i\tj"], "test": ["k\tl", "m\tDUMMY"]}
    for split, lines in rows.items():
        (folder / f"{split}.tsv").write_text("\n".join(["utterance\tresponse", *lines]))
    corpus = PublicCorpus(dataset="dialogue").load(tmp_path)
    assert [len(examples) for examples in corpus.splits.values()] == [2, 2, 1]
    assert corpus.left_out == {"train": {"placeholder": 1, "in a later split": 1}, "test": {"placeholder": 1}}


def test_abstracts_are_joined_and_white_space_collapsed() -> None:
    line = json.dumps({"source": ["We  show.\n", "And prove. "], "target": ["A  proof.", "Another."], "title": "T"})
    assert convert_abstracts(line + "\n") == "document\tsummary\nWe show. And prove.\tA proof.\n"


def test_parts_of_speech_are_the_roles() -> None:
    row = {"sentence": "plants grow", "parse": "(S (NP (NNS plants)) (VP (VBP grow)))"}
    assert _from_parse(row) == Example("plants grow", roles=("NNS", "VBP"))
    row["sentence"] = "plants grow ."
    assert _from_parse(row).roles is None


@needs_shared
@pytest.mark.parametrize("name", sorted(SOURCES))
def test_shared_corpora_are_what_the_checksums_say(name: str, tmp_path: Path) -> None:
    fetch(name, tmp_path, from_folder=SHARED_DATA)
    corpus = PublicCorpus(dataset=name).load(tmp_path)
    sizes = {
        "explanations": (9_184, 1_160, 1_151),  # 9,185 lines, the first of which is no sentence
        "entailment": (3_760, 495, 948),
        "explanations_parsed": (9_810, 1_090, 3_148),  # three differ from a test sentence in white space alone
        "summarization": (1_989, 618, 618),
        "dialogue": (8_208, 1_223, 774),
    }
    assert tuple(len(examples) for examples in corpus.splits.values()) == sizes[name]
    assert corpus.licence == SOURCES[name].licence
    assert all(example.source and example.text for examples in corpus.splits.values() for example in examples)
    assert all(e.roles for e in corpus.train) == (name == "explanations_parsed")
