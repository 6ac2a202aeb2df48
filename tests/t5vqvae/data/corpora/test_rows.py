"""One reader of tables: the same rows in every format, and one line about a row that is none."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t5vqvae.data import Example, HubCorpus, TextCorpus
from t5vqvae.data.corpora.columns import to_examples
from t5vqvae.data.corpora.rows import read_rows
from t5vqvae.errors import DataError

Table = Sequence[tuple[str, str]]


def _txt(path: Path, rows: Table) -> None:
    path.write_text("".join(f"{text}\n" for text, _ in rows), "utf-8", newline="")


def _tsv(path: Path, rows: Table) -> None:
    path.write_text("text\ttarget\n" + "".join(f"{a}\t{b}\n" for a, b in rows), "utf-8", newline="")


def _csv(path: Path, rows: Table) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "target"), *rows])


def _jsonl(path: Path, rows: Table) -> None:
    path.write_text("".join(json.dumps({"text": a, "target": b}) + "\n" for a, b in rows), "utf-8")


def _json(path: Path, rows: Table) -> None:
    path.write_text(json.dumps([{"text": a, "target": b} for a, b in rows], ensure_ascii=False), "utf-8")


def _parquet(path: Path, rows: Table) -> None:
    import pyarrow
    import pyarrow.parquet

    columns = {"text": [a for a, _ in rows], "target": [b for _, b in rows]}
    schema = pyarrow.schema([(name, pyarrow.string()) for name in columns])
    pyarrow.parquet.write_table(pyarrow.table(columns, schema), path)


WRITERS: dict[str, Callable[[Path, Table], None]] = {
    "txt": _txt, "tsv": _tsv, "csv": _csv, "jsonl": _jsonl, "json": _json, "parquet": _parquet
}  # fmt: skip
WORDS = [
    "null",
    "NA",
    "N/A",
    "None",
    "nan",
    "NaN",
    "",
    "007",
    "1e5",
    "0",
    "-0.0",
    "true",
    "False",
    "<NA>",
    "#N/A",
    "inf",
]
CELLS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\t"), min_size=1),
    st.sampled_from([word for word in WORDS if word]),
)


def found(path: Path, target: str | None = None) -> list[tuple[str, str | None]]:
    examples, _ = to_examples(read_rows(path), None, target)
    return [(example.source, example.target) for example in examples]


@settings(deadline=None, derandomize=True, max_examples=60)
@given(rows=st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=6))
def test_every_format_gives_the_same_examples(rows: Table, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("same")
    for kind, write in WRITERS.items():
        write(folder / f"table.{kind}", rows)
    expected = found(folder / "table.parquet", "target")
    assert len(expected) <= len(rows)
    for kind in ("tsv", "csv", "jsonl", "json"):
        assert found(folder / f"table.{kind}", "target") == expected, kind
    assert found(folder / "table.txt") == found(folder / "table.jsonl")


@settings(deadline=None, derandomize=True, max_examples=4)
@given(rows=st.lists(CELLS.filter(str.strip), min_size=4, max_size=8, unique_by=str.strip))
def test_the_hub_reads_a_local_folder_as_the_file_itself(
    rows: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    pytest.importorskip("datasets")
    for kind in ("csv", "jsonl", "txt"):
        folder = tmp_path_factory.mktemp(kind)
        WRITERS[kind](folder / f"train.{kind}", [(text, "") for text in rows])
        cut = {"validation_fraction": 0.3, "test_fraction": 0.0}
        ours = TextCorpus(path=str(folder / f"train.{kind}"), **cut).load(folder)
        hub = HubCorpus(dataset=str(folder), validation_split=None, test_split=None, **cut).load(folder / "cache")
        assert hub.fingerprint == ours.fingerprint, kind


@pytest.mark.parametrize("kind", ["tsv", "csv", "jsonl", "json", "parquet"])
def test_words_that_look_like_nothing_and_numbers_stay_text(kind: str, tmp_path: Path) -> None:
    rows = [(word, f"{word} ") for word in WORDS if word]
    WRITERS[kind](tmp_path / f"a.{kind}", rows)
    assert found(tmp_path / f"a.{kind}", "target") == [(word, word) for word, _ in rows]


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_words_stay_text_in_the_hub_too(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    (tmp_path / "set").mkdir()
    WRITERS[kind](tmp_path / "set" / f"train.{kind}", [(word, "x") for word in WORDS if word])
    hub = HubCorpus(dataset=str(tmp_path / "set"), validation_split=None, test_split=None, test_fraction=0)
    corpus = hub.load(tmp_path / "cache")
    assert {e.source for e in (*corpus.train, *corpus.validation)} == {word for word in WORDS if word}


@pytest.mark.parametrize("kind", ["jsonl", "json", "parquet", "hub"])
def test_zero_and_false_are_text_and_null_is_missing(kind: str, tmp_path: Path) -> None:
    rows = [
        {"q": "0 minus 0", "a": 0},
        {"q": "x", "a": None},
        {"q": None, "a": 3},
        {"q": " ", "a": 5},
        {"q": "y", "a": 7},
    ]
    path = tmp_path / f"train.{'jsonl' if kind == 'hub' else kind}"
    if kind == "parquet":
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    else:
        lines = [json.dumps(row) for row in rows]
        path.write_text(f"[{','.join(lines)}]" if kind == "json" else "\n".join(lines))
    if kind == "hub":
        pytest.importorskip("datasets")
        settings = {"source_column": "q", "target_column": "a", "validation_split": None, "test_split": None}
        corpus = HubCorpus(dataset=str(tmp_path), validation_fraction=0.5, test_fraction=0, **settings).load(tmp_path)
        assert {(e.source, e.target) for e in (*corpus.train, *corpus.validation)} == {("0 minus 0", "0"), ("y", "7")}
        assert corpus.left_out == {"train": {"missing": 2, "empty": 1}}
        return
    examples, left_out = to_examples(read_rows(path), "q", "a")
    assert examples == [Example("0 minus 0", "0"), Example("y", "7")]
    assert left_out == {"missing": 2, "empty": 1}


@pytest.mark.parametrize("value", ["NaN", "null"])
def test_nan_is_missing(value: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(f'{{"text": {value}}}\n{{"text": false}}\n{{"text": 1.5}}\n{{"text": 0}}\n')
    examples, left_out = to_examples(read_rows(tmp_path / "a.jsonl"), None, None)
    assert [example.source for example in examples] == ["false", "1.5", "0"] and left_out == {"missing": 1}


def test_null_and_empty_are_the_same_in_jsonl_and_parquet(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    rows = [{"text": a, "target": b} for a in (None, "", "x") for b in (None, "", "y")]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    read = [to_examples(read_rows(tmp_path / f"a.{kind}"), "text", "target") for kind in ("jsonl", "parquet")]
    assert read[0] == read[1] == ([Example("x", "y")], {"missing": 5, "empty": 3})


@pytest.mark.parametrize("kind", ["txt", "tsv", "csv", "jsonl", "json"])
def test_a_byte_order_mark_is_skipped(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{kind}"
    WRITERS[kind](path, [("row 0", "x"), ("row 1", "x")])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert [source for source, _ in found(path)] == ["row 0", "row 1"]


def test_the_first_rows_first_column_counts_for_all(tmp_path: Path) -> None:
    rows = [{"text": "sentence 0", "id": "ID0"}, {"id": "ID1", "text": "sentence 1"}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert found(tmp_path / "a.jsonl") == [("sentence 0", None), ("sentence 1", None)]


@pytest.mark.parametrize("header", [",text", "Unnamed: 0,text", " ,text"])
def test_an_index_column_is_no_text(header: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"{header}\n0,row 0\n1,row 1\n")
    assert found(tmp_path / "a.csv") == [("row 0", None), ("row 1", None)]


def test_the_index_that_pandas_writes_to_parquet_is_no_text(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table({"__index_level_0__": [7], "text": ["a"]}), tmp_path / "a.parquet")
    assert found(tmp_path / "a.parquet") == [("a", None)]


@pytest.mark.parametrize("kind", ["txt", "tsv", "jsonl"])
def test_old_line_ends_and_blank_lines(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{kind}"
    WRITERS[kind](path, [("row 0", "x"), ("row 1", "x")])
    whole = path.read_text()
    for text in (whole.replace("\n", "\r"), whole.replace("\n", "\r\n"), whole.replace("\n", "\n   \n\n")):
        path.write_text(text, newline="")
        assert [source for source, _ in found(path)] == ["row 0", "row 1"]


def test_a_long_field_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"text\n{'a' * 200_000}\nshort\n")
    assert [len(source) for source, _ in found(tmp_path / "a.csv")] == [200_000, 5]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b'text,n\nfine,0\n"never closed,1\nplain,2\n', r"a.csv line 3: a quotation mark opens here"),
        ("a.csv", b'text,n\n"a"b,1\n', r"a.csv line 2: .* fix the quotation marks"),
        ("a.csv", b'text,n\n"two\nlines",1\nx\n', r"a.csv line 4 has 1 columns, its header 2"),
        ("a.csv", b"text,text\na,b\n", r"a.csv line 1 names the column 'text' twice; rename one"),
        ("a.tsv", b"text\ttext\na\tb\n", r"a.tsv line 1 names the column 'text' twice"),
        ("a.csv", b"\n,\na,b\n", r"a.csv line 3 has no named column"),
        ("a.jsonl", b'{"text": "a", "text": "b"}\n', r"a.jsonl line 1 has the key 'text' twice"),
        ("a.jsonl", b'{"text": "a"}\n{}\n', r"'text', .*no column of .*a.jsonl line 2; it has none; name another"),
        ("a.jsonl", b'{}\n{"text": "a"}\n', r"a.jsonl line 1 has no named column"),
        ("a.jsonl", b'{"text": "a"}\n{"text": "bad \\ud83d half"}\n', r"line 2, column 'text': .*half a character"),
        ("a.jsonl", b'{"text": ["a"]}\n', r"a.jsonl line 1, column 'text': a value of type list is no text"),
        ("a.jsonl", b'{"text": {"b": 1}}\n', r"a.jsonl line 1, column 'text': a value of type object is no text"),
        ("a.jsonl", b'\n{"text": \n', r"a.jsonl line 2 is no JSON"),
        ("a.jsonl", b"[" * 100_000, r"a.jsonl line 1 is JSON with too many levels"),
        ("a.json", b'[{"text": "a"},\n {"text" "b"}]', r"a.json is no JSON .*line 2"),
        ("a.txt", b"fine\nf\xfcr wen\n", r"a.txt line 2 is not UTF-8 .*iconv"),
        ("a.jsonl", b'{"text": "a"}\n{"text": "f\xfcr"}\n', r"a.jsonl line 2 is not UTF-8"),
        ("a.csv", b"text\n" + b"x" * 9000 + b"\nf\xfcr\n", r"a.csv line 3 is not UTF-8"),
        ("a.txt", "row 0\nrow 1\n".encode("utf-16"), r"a.txt is UTF-16"),
        ("a.txt", "row 0\nrow 1\n".encode("utf-16-le"), r"a.txt is UTF-16"),
        ("a.parquet", b"PAR1 nothing", r"a.parquet cannot be read as Parquet"),
        ("a.parquet", b"", r"a.parquet cannot be read as Parquet"),
        ("a.txt.gz", b"\x1f\x8b", r"a.txt.gz is packed \(gz\); unpack it"),
        ("a.doc", b"x", r"format 'doc' is unknown"),
    ],
)
def test_a_row_that_cannot_be_read_is_named(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as refused:
        found(tmp_path / name)
    assert "\n" not in str(refused.value) and str(tmp_path / name) in str(refused.value)
