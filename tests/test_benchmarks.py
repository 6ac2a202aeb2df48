"""Benchmarks start with the command lines that their documentation gives, and their pages say what was measured."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest

from t5vqvae.config import Overrides
from t5vqvae.data import TokenizedSplit, prepare, prepare_test
from tests.benchmarks import control_figure, control_page, control_rows, results_page, results_table
from tests.benchmarks.results_rows import ROWS, Key, Row, Values, without_bottleneck

RATES: Values = {"rate/log2_codes": 9.0, "rate/log2_vocabulary": 8.9, "seconds": 3.0}


def test_the_results_table_goes_to_the_present_folder_unless_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(results_table, "prepared", lambda names, place: [])
    results_table.add(tmp_path / "results_table.csv", ("math, end", 0), {**RATES, "test/exact_match": 0.25})
    monkeypatch.setattr("sys.argv", ["results_table", "--state", str(tmp_path)])
    results_table.main()
    assert "| math, end | - | yes | 1 of 5 | 0.250 |" in (tmp_path / "results_table.md").read_text()


def test_a_row_names_tokens_if_its_embeddings_have_a_code_for_each() -> None:
    page = results_page.page({("math, position 0", 0): RATES, ("math, end", 0): RATES})
    assert "| math, position 0 | names tokens | yes |" in page and "| math, end | - | yes |" in page
    few = results_page.page({("math, position 0", 0): {**RATES, "rate/log2_codes": 8.5}})
    assert "| math, position 0 | - | yes |" in few
    bits = {"test/rate/bits_per_token": 4.6, "test/rate/token_entropy_bits": 4.57}
    same = results_page.page({("math, end", 0): {**RATES, **bits}})
    assert "| math, end | names tokens in effect | yes |" in same
    more = results_page.page({("math, end", 0): {**RATES, **bits, "test/rate/bits_per_token": 7.5}})
    assert "| math, end | - | yes |" in more


def _judged(score: float, shuffled: float | None = None) -> Values:
    values = {"test/model": score, "test/low": score - 0.01, "test/high": score + 0.01, "test/learnt": 1.0}
    idle = {"test/lead-1": 0.2, "test/one constant": 0.1, "test/lead-1/rouge1": 0.9}
    return {**RATES, **values, **idle, **({} if shuffled is None else {"shuffled/rougeL": shuffled})}


def test_a_task_stands_next_to_doing_nothing_and_to_no_bottleneck() -> None:
    name, control = "summarization, position 1", "summarization, none"
    page = results_page.page({(name, 0): _judged(0.3, 0.15), (control, 0): _judged(0.4)})
    row = next(line for line in page.splitlines() if line.startswith(f"| {name} | test"))
    # .3 of .4 without a bottleneck; one seed: the interval over questions.
    assert row.endswith("| 0.300 [0.290, 0.310] | 0.150 | - | lead-1, 0.200 | 1 of 1 | 0.750 |")
    assert "| summarization | test | rougeL | lead-1 0.200; one constant 0.100 |" in page
    row = next(line for line in page.splitlines() if line.startswith(f"| {control} | test"))
    assert "| 0.400 [0.390, 0.410] | - |" in row and row.endswith("| 1 of 1 | - |")
    alone = results_page.page({(name, 0): _judged(0.3), (control, 1): _judged(0.4)})  # of another seed
    assert "| 1 of 1 | - |" in next(line for line in alone.splitlines() if line.startswith(f"| {name} | test"))


@pytest.mark.parametrize("name", ROWS)
def test_every_row_is_a_run_with_its_command(name: str) -> None:
    assert ROWS[name].spec(1, "cpu").seed == 1
    assert f'--only "{name}"`' in results_page.page({})
    if name.endswith(", none"):
        assert ROWS[name].spec(0, "cpu").quantizer.name == "none"
    if not name.startswith(("math", "explanations")):
        trained_otherwise = name.count(",") == 2  # on more nouns, or less: no row without a bottleneck is
        assert without_bottleneck(name) in ROWS or name.endswith(", none") or trained_otherwise


def test_rows_of_an_earlier_table_are_refused_and_not_mixed_in(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("corpus,position,quantizer,seed,local\nmath,0,ema,0,0.99\n")
    with pytest.raises(SystemExit, match=r"has rows of validation sentences, of an earlier version: move it away"):
        control_rows.read(tmp_path / "rows.csv")


def test_the_control_table_says_which_of_its_models_have_no_mig(tmp_path: Path) -> None:
    model, other = control_rows.MODELS[:2]
    of_validation = dict.fromkeys(control_rows.CHOSEN_BY, 0.5)
    done = {
        (model, 0): {**of_validation, "InfoM": 1.0, "local": 0.75, control_rows.ON_GPU: 0.0},
        (model, 1): {**of_validation, "InfoM": 1.0, "MIG": 0.25, "local": 0.25, control_rows.ON_GPU: 0.0},
        (other, 0): {**of_validation, "local": 0.5, control_rows.ON_GPU: 0.0},
    }
    control_rows.save(tmp_path / "rows.csv", done)
    assert control_rows.read(tmp_path / "rows.csv") == done
    page = control_page.page(done)
    assert "Models trained before MIG was measured, whose cells are of the others: 1." in page
    assert "| 0.50 (0.25 to 0.75) |" in page and "| 0.25 |" in page


def test_no_model_without_a_bottleneck_is_among_the_five_best() -> None:
    done = {
        (model, seed): dict.fromkeys(control_rows.CHOSEN_BY, 0.5 + number / 100 + (model.quantizer == "none"))
        for number, model in enumerate(control_rows.MODELS)
        for seed in control_rows.SEEDS
    }
    for corpus in control_rows.CORPORA:
        best = control_rows.best(done, corpus)
        assert [model.corpus for model in best] == [corpus] * 5
        assert "none" not in {model.quantizer for model in best}
        of_corpus = [model for model in control_rows.MODELS if model.corpus == corpus and model.quantizer != "none"]
        assert best == of_corpus[:-6:-1]


def test_the_figure_has_both_kinds_of_control_and_the_arms_of_sparse_codes(tmp_path: Path) -> None:
    model = control_rows.Model("grammar", "end", "ema")
    values = [{"exact match": 0.9, "local": 0.5 + seed / 10, "distributed": 0.0} for seed in range(3)]
    done = {(model, seed): row for seed, row in enumerate(values)}
    [(exact, control)] = control_figure.points(done, "grammar", "end", "local")
    assert (exact, control) == (pytest.approx(0.9), [0.5, 0.6, 0.7])
    assert list(control_figure.points(done, "math", "end", "local")) == []
    runs = pd.DataFrame(
        {
            "phase": ["comparison", "comparison", "tuning"],
            "arm": ["baseline"] * 3,
            "sparse/exact_match": [0.9, 1.0, 0.0],
            "control/sparse_local_intervention": [1.0, 1.0, 0.0],
            "control/sparse_distributed_intervention": [0.2, 0.4, 0.9],
        }
    )
    runs.to_parquet(tmp_path / "runs.parquet")
    assert control_figure.sparse_points(tmp_path, "distributed") == {"baseline": (pytest.approx(0.95), [0.2, 0.4])}
    _, right = control_figure.drawn(done, tmp_path).axes
    shown = {text.get_text() for text in right.get_legend().get_texts()}
    assert shown == {"grammar, codes of the encoder's end", "grammar, sparse codes"}


def test_the_page_says_which_aims_were_missed_and_by_the_worst_seed() -> None:
    name = "math, position 0"
    worse, better = ({**RATES, "VAR/exact_match": value, "EQ/exact_match": 1.0} for value in (0.5, 0.99))
    page = results_page.page({(name, 0): worse, (name, 1): better})
    assert "- Aims of *math, position 0* (2): missed: VAR 0.745 of 0.99 (worst seed 0.500)." in page
    assert "- Aims of *math, position 0* (2): all reached." in results_page.page({(name, 0): better})
    assert "Aims of *" not in results_page.page({("math, end", 0): RATES}), "nothing was measured"


def _counts(split: TokenizedSplit) -> tuple[Counter[int], Counter[int]]:
    """Returns how often each token occurs in the sources, and in the targets."""
    batch = split.batch(range(len(split)))
    targets = batch.labels_BS[batch.labels_BS >= 0]
    return Counter(batch.input_ids_BT[batch.mask_BT].tolist()), Counter(targets.tolist())


# Less than half of the chains is enough for syllogisms; what is augmented is counted as it is trained.
@pytest.mark.parametrize(
    ("name", "less"),
    [
        ("syllogisms, position 1", {"data.corpus.size": 16_000, "data.corpus.test_size": 300}),
        pytest.param("syllogisms, position 1", {"data.corpus.size": 40_000}, marks=pytest.mark.slow),
        pytest.param("derive, position 1", {}, marks=pytest.mark.slow),
    ],
)
def test_a_row_is_tested_by_no_token_that_its_training_hardly_shows(name: str, less: Overrides, tmp_path: Path) -> None:
    data = ROWS[name].spec(0, "cpu").with_overrides(less).data
    trained = prepare(data, tmp_path)
    written, answered = _counts(trained.train)
    read = written + answered  # one table of embeddings serves both
    for split in prepare_test(data, tmp_path).values():
        sources, targets = _counts(split)
        rare = {token for token in sources if read[token] < 50} | {token for token in targets if answered[token] < 50}
        assert not rare, f"{split.folder.name}: {trained.tokenizer.convert_ids_to_tokens(sorted(rare))}"


def test_models_that_train_when_the_time_is_over_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def job(key: Key, row: Row, place: results_table.Place) -> tuple[Key, Values]:
        time.sleep(0.1 * (1 + key[1]))
        return key, {"seconds": 1.0}

    monkeypatch.setattr(results_table, "_job", job)
    monkeypatch.setattr(results_table, "ProcessPoolExecutor", lambda number, mp_context: ThreadPoolExecutor(number))
    jobs = [(("math, end", seed), ROWS["math, end"]) for seed in range(5)]
    place = results_table.Place("cpu", 2, tmp_path)
    found = [key[1] for key, _ in results_table._all_measured(jobs, place, 0)]
    assert found[:2] == [0, 1] and len(found) < 5  # the second one trained when the first one ended
