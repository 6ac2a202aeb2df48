"""The commands of operations: rows in every form, changed words marked, and wrong inputs in one line."""

from __future__ import annotations

import csv
import io
import json
import shutil
from functools import partial
from pathlib import Path

import pytest
import torch
from baseline_runs import tiny
from typer.testing import CliRunner, Result

from t5vqvae.data import prepare
from t5vqvae.latent.transformer_prior import TransformerPrior
from t5vqvae.training import checkpoint
from tune.cli import app, main

QUANTIZER = {"quantizer.name": "vq", "model.position": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder with a checkpoint `word` whose codes name tokens, one without codes, and one of letters."""
    folder = tmp_path_factory.mktemp("operations")
    letters = {**QUANTIZER, "data.tokenizer.kind": "latex"}
    for name, changes in (("word", QUANTIZER), ("plain", {"quantizer.name": "none"}), ("letters", letters)):
        spec = tiny("t5vqvae", **changes)
        prepared = prepare(spec.data, folder / "cache")
        size = len(prepared.tokenizer)
        if name == "word":
            spec = spec.with_overrides({"quantizer.codebook_size": size})
        torch.manual_seed(0)
        model = spec.model.build(spec, prepared.tokenizer, len(prepared.role_names))
        if name == "word":
            with torch.no_grad():
                model.quantizer.entries_QKD[0] = model.shared.weight
        checkpoint.write(
            folder / name,
            spec,
            checkpoint.no_milestone(),
            lambda path, built=model: built.save_pretrained(path / "model"),
        )
    return folder


@pytest.fixture(scope="module")
def sentence(folder: Path) -> str:
    """The first training sentence."""
    return prepare(tiny("t5vqvae", **QUANTIZER).data, folder / "cache").train.sources([0])[0]


def run(folder: Path, *words: str, model: str = "word") -> Result:
    command, *rest = words
    more = [] if command == "encode" else ["--max-new-tokens", "6"]
    return CliRunner().invoke(app, [command, str(folder / model), *rest, *more, "--state", str(folder)])


def rows(folder: Path, *words: str, model: str = "word") -> list[dict[str, object]]:
    done = run(folder, *words, "--format", "json", model=model)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def refusal(folder: Path, *words: str, model: str = "word") -> str:
    done = run(folder, *words, model=model)
    # On a busy machine a model that takes over two seconds to load says so, in lines of their own.
    said = [line for line in done.output.splitlines() if not line.startswith(("loading", "preparing"))]
    assert done.exit_code == 2 and len(said) == 1, done.output
    return said[0]


def test_what_encode_prints_decode_reads(folder: Path, sentence: str) -> None:
    found = rows(folder, "encode", sentence)
    words = " ".join(",".join(map(str, row["codes"])) for row in found)
    decoded = rows(folder, "decode", words)
    interpolated = rows(folder, "interpolate", sentence, sentence, "--steps", "2")
    assert [row["text"] for row in interpolated] == [decoded[0]["text"]] * 2
    assert interpolated[0]["codes"] == decoded[0]["codes"] == [row["codes"] for row in found]
    assert found[-1]["token"] == "</s>" and found[-1]["codes"] == [1]


def test_encode_says_which_characters_the_tokenizer_does_not_know(folder: Path) -> None:
    done = run(folder, "encode", "the 日本日", "--format", "json", model="letters")
    assert [row["token"] for row in json.loads(done.stdout)][-4:] == ["<unk>"] * 3 + ["</s>"]
    assert "3 positions have a character that the tokenizer does not know (日 本), shown as <unk>:" in done.stderr
    one = run(folder, "encode", "the", "日", model="letters").stdout
    assert "1 position has a character that the tokenizer does not know (日)" in " ".join(one.split())
    for known in (run(folder, "encode", "the cat", model="letters"), run(folder, "encode", "the 日本")):
        assert known.exit_code == 0 and "does not know" not in known.output and "<unk>" not in known.output


def test_the_forms_hold_the_same_rows(folder: Path, sentence: str, tmp_path: Path) -> None:
    import pyarrow.parquet

    wanted = rows(folder, "traverse", sentence, "--position", "1", "--nearest", "3")
    assert len(wanted) == 4 and wanted[0]["distance"] == 0
    own = wanted[0]["codes"]
    for row in wanted[1:]:
        differ = [place for place, (a, b) in enumerate(zip(own, row["codes"], strict=True)) if a != b]
        assert differ == [1] and row["codes"][1] == [row["code"]]
    words = ("traverse", sentence, "--position", "1", "--nearest", "3")
    printed = run(folder, *words, "--format", "csv").stdout
    read = list(csv.DictReader(io.StringIO(printed)))
    assert [json.loads(row["codes"]) for row in read] == [row["codes"] for row in wanted]
    assert [row["text"] for row in read] == [row["text"] for row in wanted]
    file = tmp_path / "new" / "rows.parquet"
    assert run(folder, *words, "--format", "parquet", "--output", str(file)).exit_code == 0
    assert pyarrow.parquet.read_table(file).to_pylist() == wanted


def test_a_role_is_traversed_where_the_corpus_knows_it(folder: Path, sentence: str) -> None:
    spec = tiny("t5vqvae", **QUANTIZER)
    data = prepare(spec.data, folder / "cache")
    names = [data.role_names[number] for number in data.train.batch([0]).roles_BT[0].tolist()]
    found = rows(folder, "traverse", sentence, "--role", names[0], "--nearest", "1")
    assert sorted({row["position"] for row in found}) == [place for place, name in enumerate(names) if name == names[0]]
    own = ", ".join(sorted(set(names) - {"none"}))
    assert refusal(folder, "traverse", sentence, "--role", "AGENT").endswith(f"has no such role; its roles: {own}")
    assert "is no sentence of the training" in refusal(folder, "traverse", "a b c", "--role", names[0])


def test_arithmetic_and_splices_are_read_from_the_command_line(folder: Path, sentence: str) -> None:
    found = rows(folder, "arithmetic", sentence, "-", "a bat eats honey", "+", "a bat eats honey")
    assert [row["sign"] for row in found] == ["+", "-", "+", "="]
    assert found[3]["codes"] == found[0]["codes"] and found[3]["text"] == found[0]["text"]
    words = sentence.split()
    spliced = rows(folder, "splice", sentence, "a bat eats honey", "honey", "--replace", f"{words[0]} {words[1]}")
    codes = {row["sentence"]: row["codes"] for row in spliced}
    assert codes["substitution"][-1] == [1] and codes["substitution"] != codes["text"]
    joined = rows(folder, "splice", sentence, "a bat eats honey", "eats honey", "--join", "and")
    assert joined[2]["codes"][: len(codes["text"]) - 1] == codes["text"][:-1]


def test_samples_and_codes_read_the_training_split_or_a_file(
    folder: Path, tmp_path: Path, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TransformerPrior, "fit", partial(TransformerPrior.fit, steps=5))
    drawn = rows(folder, "sample", "--number", "3", "--sentences", "50")
    assert len(drawn) == 3 and all(row["bits"] > 0 for row in drawn)
    drawn = rows(folder, "sample", "--number", "2", "--sentences", "10", "--prior", "transformer")
    assert len(drawn) == 2 and all(row["ended"] for row in drawn)
    shutil.copytree(folder / "word" / "model", tmp_path / "bare")
    bare = str(tmp_path / "bare")
    assert "has no spec.json, so its corpus is unknown; give sentences by --texts FILE" in refusal(
        folder, "sample", model=bare
    )
    (tmp_path / "texts").write_text(f"{sentence}\n\n{sentence}\n")
    found = rows(folder, "codes", "--texts", str(tmp_path / "texts"), model=bare)
    assert found[0]["count"] % 2 == 0 and found[0]["purity"] <= 1
    code = str(found[0]["code"])
    swaps = rows(folder, "codes", "--code", code, "--texts", str(tmp_path / "texts"), model=bare)
    assert [row["context"] for row in swaps] == [sentence] * 2 and swaps[0]["swapped_to"] != found[0]["code"]
    of_training = run(folder, "codes", "--code", code, "--sentences", "30").output
    assert "stands for the word " in of_training and "stands for the role " in of_training


def test_a_model_without_codes_does_what_has_a_meaning(folder: Path) -> None:
    found = rows(folder, "interpolate", "a bat eats honey", "iron is a metal", "--steps", "3", model="plain")
    assert len(found) == 3 and "codes" not in found[0]
    for words in (["encode", "a"], ["traverse", "a", "--position", "0"], ["sample"], ["codes"], ["decode", "1 2"]):
        assert "quantizer none has no codes; " in refusal(folder, *words, model="plain")


def test_pairs_come_from_a_file_and_lengths_are_reported(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "pairs").write_text("a bat eats honey\ta cat eats honey in a cave\na bat\ta bat\n")
    done = run(folder, "interpolate", "--pairs", str(tmp_path / "pairs"), "--steps", "2")
    assert "2 paths, 50% of them between sentences of" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    (tmp_path / "pairs").write_text("a bat eats honey\n")
    assert "has 1 parts; write A, a tab, and B" in refusal(folder, "interpolate", "--pairs", str(tmp_path / "pairs"))


WRONG = [
    (["sample", "--prior", "bigram"], "'bigram' is not one of 'chain', 'transformer'"),
    (["interpolate", "a bat", ""], "text 2 of 2 is empty; give a sentence of at least one word"),
    (["interpolate", "a", "b", "--steps", "1"], "--steps 1 must be at least 2: both ends belong to a path"),
    (["traverse", "a bat"], "traverse needs --position N or --role ROLE, one of them"),
    (["traverse", "SENTENCE", "--position", "99"], "position=99 is none of"),
    (["traverse", "a bat", "--position", "0", "--codebook", "1"], "codebook=1 must lie between 0 and 0"),
    (["arithmetic", "a", "b"], "write sentences with + or - between them"),
    (["splice", "a bat", "a cat", "dog"], "'dog' is not in 'a cat'; give words as the sentence has them"),
    (["splice", "a", "b", "b", "--replace", "a", "--join", "and"], "splice takes one of --replace, --after and --join"),
    (["decode", "1 x"], "CODES '1 x' are no codes; write numbers such as"),
    (["decode", "99999"], "has the code 99999; codes are 0 to"),
    (["encode"], "there is no sentence to encode; give TEXT, or --texts FILE"),
    (["encode", "--texts", "nowhere.txt"], "nowhere.txt cannot be read: No such file"),
    (["walk", "a bat", "--position", "0"], "quantizer vq has codes without an order"),
    (["codes", "--code", "99999"], "code=99999 must lie between 0 and"),
]


@pytest.mark.parametrize(("words", "reason"), WRONG, ids=[" ".join(words)[:40] for words, _ in WRONG])
def test_wrong_inputs_are_one_line(folder: Path, sentence: str, words: list[str], reason: str) -> None:
    assert reason in refusal(folder, *[sentence if word == "SENTENCE" else word for word in words])


def test_an_unknown_model_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["encode", "nosuch", "a", "--state", str(folder)]) == 2
    assert "there is no study nosuch under" in capsys.readouterr().err


def test_decoding_stops_where_the_evaluations_of_the_run_do(folder: Path, tmp_path: Path) -> None:
    from t5vqvae.latent.latent_space import LONGEST
    from tune.operations.opened import open_model

    own = open_model(str(folder / "word"), folder)
    assert own.spec is not None and own.space.max_new_tokens == own.spec.max_new_tokens != LONGEST
    assert open_model(str(folder / "word"), folder, 6).space.max_new_tokens == 6
    own.space.model.save_pretrained(tmp_path / "weights")
    assert open_model(str(tmp_path / "weights"), folder).space.max_new_tokens == LONGEST
