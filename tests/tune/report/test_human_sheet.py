"""The sheet for human raters: blind, complete, and Krippendorff's alpha against its definition."""

from __future__ import annotations

import csv
import itertools
import json
from collections import Counter
from pathlib import Path

import pytest
from baseline_runs import finish, tiny

from t5vqvae.errors import DataError
from tune.cli import main
from tune.report.human_sheet import SCALE, Agreement, RatedPath, agreement, write_sheet

PATHS = [RatedPath(f"model-{name}", [f"{name} {n}", "x", f"end {n}"], n / 10, n > 1) for name in "ab" for n in range(5)]


def filled(folder: Path, name: str, ratings: dict[str, str]) -> Path:
    """A filled copy of the sheet."""
    with (folder / "sheet.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    path = folder / name
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, "rating": ratings.get(row["item"], "")} for row in rows)
    return path


def alpha_by_definition(units: list[list[int]]) -> float:
    """1 - observed / expected disagreement, ordinal: the squared number of ratings between two values."""
    units = [unit for unit in units if len(unit) > 1]
    counts = Counter(value for unit in units for value in unit)
    total = sum(counts.values())

    def distance(one: int, other: int) -> float:
        low, high = sorted((one, other))
        between = sum(counts[value] for value in range(low, high + 1))
        return (between - (counts[low] + counts[high]) / 2) ** 2

    observed = sum(
        distance(one, other) / (len(unit) - 1) for unit in units for one, other in itertools.permutations(unit, 2)
    )
    expected = sum(
        counts[one] * (counts[other] - (one == other)) * distance(one, other) for one in counts for other in counts
    )
    return 1 - observed / total / (expected / (total * (total - 1)))


def test_raters_see_every_path_and_no_model(tmp_path: Path) -> None:
    sheet, page, key = write_sheet(PATHS, tmp_path, seed=0)
    items = json.loads(key.read_text())["items"]
    assert Counter(item["model"] for item in items.values()) == {"model-a": 5, "model-b": 5}
    assert "model-" not in sheet.read_text() + page.read_text()
    for path in PATHS:
        assert " > ".join(path.texts) in sheet.read_text() and f"<li>{path.texts[0]}</li>" in page.read_text()
    assert [item["model"] for item in items.values()] != [path.model for path in PATHS], "in another order"


def test_alpha_is_that_of_the_definition(tmp_path: Path) -> None:
    write_sheet(PATHS, tmp_path, seed=0)
    ratings = [{"1": "1", "2": "2", "3": "5", "4": "4"}, {"1": "1", "2": "3", "3": "5", "5": "2"},
               {"1": "2", "2": "2", "3": "4", "4": "5", "5": "2"}]  # fmt: skip
    files = [filled(tmp_path, f"{number}.csv", each) for number, each in enumerate(ratings)]
    units = [[int(each[item]) for each in ratings if item in each] for item in map(str, range(1, 11))]
    found = agreement(tmp_path, files)
    assert found.alpha == pytest.approx(alpha_by_definition(units))
    assert (found.num_raters, found.num_items) == (3, 5)


def test_ratings_find_their_models_again(tmp_path: Path) -> None:
    """By hand: raters give 4 to paths of b and 2 to those of a, whatever the order on the sheet."""
    write_sheet(PATHS, tmp_path, seed=3)
    items = json.loads((tmp_path / "key.json").read_text())["items"]
    ratings = {number: {"model-a": "2", "model-b": "4"}[item["model"]] for number, item in items.items()}
    found = agreement(tmp_path, [filled(tmp_path, name, ratings) for name in ("1.csv", "2.csv")])
    assert found.by_model == {"model-a": (2.0, 5), "model-b": (4.0, 5)}
    assert found.alpha == 1
    counting = {number: str(1 + round(10 * item["smoothness"]) * item["counts"]) for number, item in items.items()}
    found = agreement(tmp_path, [filled(tmp_path, name, counting) for name in ("1.csv", "2.csv")])
    assert found.correlation == pytest.approx(1)


@pytest.mark.parametrize("rating", ["0", "6", "good"])
def test_a_wrong_sheet_is_refused_with_its_line(tmp_path: Path, rating: str) -> None:
    write_sheet(PATHS, tmp_path, seed=0)
    files = [filled(tmp_path, "1.csv", {"1": "3"}), filled(tmp_path, "2.csv", {"2": rating})]
    with pytest.raises(DataError, match=f"2.csv line 3: rating {rating!r} must be {SCALE[0]} to {SCALE[-1]}"):
        agreement(tmp_path, files)
    with pytest.raises(DataError, match="agreement needs those of two raters"):
        agreement(tmp_path, files[:1])
    with pytest.raises(DataError, match=r"has no key.json; name the folder that `t5vqvae sheet` wrote"):
        agreement(tmp_path / "other", files)


def test_only_items_of_two_raters_agree_or_not(tmp_path: Path) -> None:
    write_sheet(PATHS, tmp_path, seed=0)

    def found(*ratings: dict[str, str]) -> Agreement:
        return agreement(tmp_path, [filled(tmp_path, f"{number}.csv", each) for number, each in enumerate(ratings)])

    with pytest.raises(DataError, match="no item has ratings of two raters; let them rate the same items"):
        found({"1": "1"}, {"2": "5"})
    assert found({"1": "3", "2": "1"}, {"1": "3", "3": "5"}).alpha is None, "the one shared item does not vary"
    shared = found({"1": "1", "2": "4"}, {"1": "2", "2": "4"}).alpha
    assert shared is not None
    assert found({"1": "1", "2": "4", "3": "5"}, {"1": "2", "2": "4", "4": "1"}).alpha == pytest.approx(shared)


def test_a_sheet_keeps_the_paths_of_its_key(tmp_path: Path) -> None:
    write_sheet(PATHS, tmp_path, seed=0)
    with pytest.raises(DataError, match=r"has the key.json of a sheet that may be out with raters; give another"):
        write_sheet(PATHS, tmp_path, seed=1)
    write_sheet(PATHS, tmp_path / "other", seed=1)
    files = [filled(tmp_path / "other", name, {"1": "1", "2": "5"}) for name in ("1.csv", "2.csv")]
    agreement(tmp_path / "other", files)
    with pytest.raises(DataError, match=r"1.csv line \d+: path '. \d > x > end \d' is not that of item \d+; keep"):
        agreement(tmp_path, files)


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short = {"train.max_steps": 2, "train.eval_every": 2, "evaluate.num_examples": 8, "evaluate.num_generated": 2}
    milestones, _ = finish(tiny("t5vqvae", **short), tmp_path / "cache")
    model = str(milestones[-1].state.save(tmp_path / "run"))
    words = ["--into", str(tmp_path / "sheet"), "--paths", "3", "--state", str(tmp_path)]
    assert main(["sheet", model, *words]) == 0
    folder = tmp_path / "sheet"
    assert "<meta name=viewport content='width=device-width" in (folder / "sheet.html").read_text(), "it fits a phone"
    assert capsys.readouterr().out.split() == [str(folder / name) for name in ("sheet.csv", "sheet.html", "key.json")]
    files = [str(filled(folder, name, {"1": "1", "2": "5"})) for name in ("1.csv", "2.csv")]
    assert main(["agreement", str(folder), *files]) == 0
    printed = capsys.readouterr().out
    assert "alpha (ordinal): 1.000; 2 raters, 2 items" in printed and "mean rating 3.00 over 2 paths" in printed
    assert main(["sheet", model, *words]) != 0, "the sheet is out"
    assert "give another folder" in capsys.readouterr().err
