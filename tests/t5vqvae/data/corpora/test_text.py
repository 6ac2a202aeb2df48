from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from t5vqvae.data import Example, HubCorpus, TextCorpus
from t5vqvae.errors import DataError

PAIRS = [(f'question "{i}"', f"answer, {i}") for i in range(20)]


def _write(folder: Path, kind: str) -> Path:
    path = folder / f"pairs.{kind}"
    if kind == "tsv":
        path.write_text("q\ta\n" + "".join(f"{q}\t{a}\n" for q, a in PAIRS))
    elif kind == "csv":
        quoted = ((q.replace('"', '""'), a) for q, a in PAIRS)
        path.write_text("q,a\n" + "".join(f'"{q}","{a}"\n' for q, a in quoted))
    elif kind == "jsonl":
        path.write_text("".join(json.dumps({"q": q, "a": a}) + "\n" for q, a in PAIRS))
    else:
        pytest.importorskip("datasets").Dataset.from_dict(
            {"q": [q for q, _ in PAIRS], "a": [a for _, a in PAIRS]}
        ).to_parquet(str(path))
    return path


@pytest.mark.parametrize("kind", ["tsv", "csv", "jsonl", "parquet"])
def test_every_table_format_gives_the_same_examples(kind: str, tmp_path: Path) -> None:
    corpus = TextCorpus(path=str(_write(tmp_path, kind)), source_column="q", target_column="a").load(tmp_path)
    found = [*corpus.train, *corpus.validation, *corpus.test]
    assert sorted((e.source, e.target) for e in found) == sorted(PAIRS)
    assert (len(corpus.train), len(corpus.validation), len(corpus.test)) == (16, 2, 2)


def test_lines_of_text(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_bytes("one\r\n\n  two \nthree\u2028still\rthree\n".encode())
    (tmp_path / "dev.txt").write_text("four")
    (tmp_path / "test.txt").write_text("five\n")
    corpus = TextCorpus(path=str(tmp_path)).load(tmp_path)
    assert corpus.train == [Example("one"), Example("two"), Example("three\u2028still\rthree")]
    assert (corpus.validation, corpus.test) == ([Example("four")], [Example("five")])


def test_missing_test_file_is_cut_from_training(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("\n".join(map(str, range(100))))
    (tmp_path / "validation.txt").write_text("other")
    corpus = TextCorpus(path=str(tmp_path), test_fraction=0.25).load(tmp_path)
    assert (len(corpus.train), len(corpus.validation), len(corpus.test)) == (75, 1, 25)


def test_shared_sentences_are_refused_or_dropped(tmp_path: Path) -> None:
    for split, text in (("train", "a\nb\nc"), ("validation", "b"), ("test", "c")):
        (tmp_path / f"{split}.txt").write_text(text)
    with pytest.raises(DataError, match=r"drop_shared=true"):
        TextCorpus(path=str(tmp_path)).load(tmp_path)
    corpus = TextCorpus(path=str(tmp_path), drop_shared=True).load(tmp_path)
    assert corpus.train == [Example("a")] and corpus.left_out == {"train": {"in a later split": 2}}


@pytest.mark.parametrize(
    ("name", "content", "settings", "message"),
    [
        ("a.tsv", "q\ta\nx\ty\n", {"source_column": "w"}, r"data.corpus.source_column='w' is no column .* q, a"),
        ("a.tsv", "q\ta\nx\n", {}, "line 2 has 1 columns, its header 2"),
        ("a.csv", "q,a\nx,y,z\n", {}, "does not fit its header"),
        ("a.jsonl", '{"q": 1\n', {}, "line 1 is no JSON"),
        ("a.doc", "x", {}, "format 'doc' is unknown.*txt, tsv"),
        ("a.txt", b"\xff\xfe", {}, "not UTF-8"),
        ("b/c.txt", "x", {}, "no train file"),
    ],
)
def test_errors_say_what_and_where(
    name: str, content: str | bytes, settings: dict[str, str], message: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    target = path.parent if path.parent != tmp_path else path
    with pytest.raises(DataError, match=message):
        TextCorpus(path=str(target), **settings).load(tmp_path)


def test_a_folder_and_an_unknown_file_are_no_split(tmp_path: Path) -> None:
    (tmp_path / "train.txt").mkdir()
    (tmp_path / "train.csv.gz").write_bytes(b"")
    with pytest.raises(DataError, match=r"no train file \(it has train.csv.gz, train.txt\)"):
        TextCorpus(path=str(tmp_path)).load(tmp_path)


def test_endings_in_capitals_are_read(tmp_path: Path) -> None:
    (tmp_path / "Train.TXT").write_text("a\nb\nc")
    (tmp_path / "DEV.CSV").write_text("text\nd")
    assert len(TextCorpus(path=str(tmp_path), test_fraction=0).load(tmp_path).train) == 3


def test_strings_are_compared_without_their_white_space(tmp_path: Path) -> None:
    for split, text in (
        ("train", "hello  world 1\nother"),
        ("validation", "hello world 1"),
        ("test", "hello\tworld 1"),
    ):
        (tmp_path / f"{split}.txt").write_text(text)
    with pytest.raises(DataError, match=r"1 strings are in both the train and the validation split.*'hello world 1'"):
        TextCorpus(path=str(tmp_path)).load(tmp_path)
    (tmp_path / "validation.txt").write_text("brand new\nhello \u2581world 1")
    dropped = TextCorpus(path=str(tmp_path), drop_shared=True).load(tmp_path)
    assert [len(examples) for examples in dropped.splits.values()] == [1, 1, 1]


def test_sentences_that_differ_in_white_space_stay_in_one_split(tmp_path: Path) -> None:
    (tmp_path / "all.txt").write_text("\n".join(f"a{gap}b {number}" for number in range(20) for gap in (" ", "  ")))
    corpus = TextCorpus(path=str(tmp_path / "all.txt")).load(tmp_path)
    assert [len(examples) for examples in corpus.splits.values()] == [32, 4, 4]


@pytest.mark.parametrize(
    ("files", "settings", "message"),
    [
        (
            {"a.txt": "same\n" * 50},
            {},
            r"validation split has no sentence: .*a.txt has 50 sentences, 1 of them different",
        ),
        ({"a.txt": "x\ny\nz\n"}, {}, r"3 of them different, and data.corpus.validation_fraction=0.1 .* leaves it none"),
        ({"a.txt": ""}, {}, r"a.txt has no sentence: it is empty; add some"),
        ({"a.csv": "text\n"}, {}, r"a.csv has no sentence: it is empty"),
        ({"a.jsonl": '{"text": null}\n{"text": ""}\n'}, {}, r"all of its 2 rows are left out \(1 missing, 1 empty\)"),
        ({"train.txt": "a\nb", "dev.txt": " \n"}, {}, r"dev.txt has no sentence"),
        ({"train.txt": "a\nb", "dev.txt": "c", "test.txt": "c"}, {"drop_shared": True}, r"the validation split has no"),
    ],
)
def test_a_split_without_a_sentence_says_why(
    files: dict[str, str], settings: dict[str, object], message: str, tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    path = tmp_path if len(files) > 1 else tmp_path / next(iter(files))
    with pytest.raises(DataError, match=message):
        TextCorpus(path=str(path), **settings).load(tmp_path)


def test_missing_path_is_named() -> None:
    with pytest.raises(DataError, match=r"data.corpus.path='/nowhere/at/all'"):
        TextCorpus(path="/nowhere/at/all").load(Path())


def test_plain_files_need_no_datasets(tmp_path: Path) -> None:
    """Reads tables with the packages made unimportable, and refuses Parquet in one line."""
    _write(tmp_path, "tsv")
    (tmp_path / "x.parquet").write_text("")
    code = f"""
import sys
sys.modules["datasets"] = sys.modules["pyarrow"] = None
from pathlib import Path
from t5vqvae.data import TextCorpus
print(len(TextCorpus(path={str(tmp_path / "pairs.tsv")!r}).load(Path()).train))
try:
    TextCorpus(path={str(tmp_path / "x.parquet")!r}).load(Path())
except ValueError as error:
    print(error)
assert not {{"ray", "mlflow", "optuna", "sympy", "transformers"}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == "16"
    assert "pip install pyarrow" in done.stdout


def test_hub_reads_a_local_data_set(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    for split, part in (("train", PAIRS[:10]), ("test", PAIRS[10:])):
        (folder / f"{split}.jsonl").write_text("".join(json.dumps({"q": q, "a": a}) + "\n" for q, a in part))
    config = HubCorpus(dataset=str(folder), source_column="q", target_column="a", validation_split=None)
    corpus = config.load(tmp_path)
    assert [(e.source, e.target) for e in corpus.test] == PAIRS[10:]
    assert (len(corpus.train), len(corpus.validation)) == (9, 1)
    with pytest.raises(DataError, match=r"data.corpus.validation_split='validation' is no split .* train, test"):
        HubCorpus(dataset=str(folder), source_column="q").load(tmp_path)


def test_a_data_set_that_the_package_cannot_read_is_named(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    (tmp_path / "set").mkdir()
    with gzip.open(tmp_path / "set" / "train.jsonl.gz", "wt") as file:
        file.write('{"text": "a"}\n{"text" oops\n')
    with pytest.raises(DataError, match=r"data.corpus.dataset='.*set' cannot be loaded: .*; check") as refused:
        HubCorpus(dataset=str(tmp_path / "set")).load(tmp_path / "cache")
    assert "\n" not in str(refused.value)
