"""A blind sheet for human raters of interpolation paths: what they get, and what their ratings say.

A sheet shows paths of several models in random order, without the models' names: a CSV with an empty column of ratings,
and a page to read. The key, which says whose path an item is, is a separate file for the evaluator. Agreement is
Krippendorff's alpha for ordinal ratings.
"""

from __future__ import annotations

import csv
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t5vqvae.errors import DataError
from t5vqvae.files import read_json, write_json
from tune.monitor.formats import html_text

SCALE = range(1, 6)
"""Ratings: 1, the path jumps or is nonsense, to 5, it leads step by step."""
QUESTION = "How gradually does the path lead from the first sentence to the last? 1: it jumps, 5: step by step."
COLUMNS = ("item", "path", "rating")


@dataclass(frozen=True)
class RatedPath:
    """A path to rate.

    Attributes:
        model: The name of its model.
        texts: Its sentences.
        smoothness: Its measured smoothness; None where it is undefined.
        counts: Whether the measure counts it.
    """

    model: str
    texts: Sequence[str]
    smoothness: float | None
    counts: bool


@dataclass(frozen=True)
class Agreement:
    """What the ratings of a sheet say.

    Attributes:
        alpha: Krippendorff's alpha of items rated twice or more, ordinal: 1 is perfect, 0 is chance; None where all
            their ratings are the same.
        by_model: The mean rating of the paths of every model, and their number.
        correlation: Spearman's correlation of an item's mean rating and its smoothness, paths that do not count as 0;
            None where one of the two does not vary.
        num_raters: Raters.
        num_items: Items that someone rated.
    """

    alpha: float | None
    by_model: Mapping[str, tuple[float, int]]
    correlation: float | None
    num_raters: int
    num_items: int


def write_sheet(paths: Sequence[RatedPath], folder: Path, seed: int) -> list[Path]:
    """Writes `sheet.csv` and `sheet.html` for raters, and `key.json` for the evaluator; returns their paths.

    Raises:
        DataError: If the folder has the key of another sheet.
    """
    refuse_other_key(folder)
    shuffled = random.Random(f"{seed} sheet").sample(list(paths), len(paths))
    folder.mkdir(parents=True, exist_ok=True)
    sheet, page, key = folder / "sheet.csv", folder / "sheet.html", folder / "key.json"
    with sheet.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows([number, _line(path), ""] for number, path in enumerate(shuffled, start=1))
    page.write_text(_page(shuffled), encoding="utf-8")
    items = {
        str(number): {
            "path": _line(path),
            "model": path.model,
            "smoothness": path.smoothness,
            "counts": path.counts,
        }
        for number, path in enumerate(shuffled, start=1)
    }
    write_json(key, {"items": items}, indent=1)
    return [sheet, page, key]


def refuse_other_key(folder: Path) -> None:
    """Refuses a folder with the key of a sheet: without it the ratings of that sheet are worth nothing.

    Raises:
        DataError: If there is one.
    """
    if (folder / "key.json").exists():
        raise DataError(f"{folder} has the key.json of a sheet that may be out with raters; give another folder")


def agreement(folder: Path, files: Sequence[Path]) -> Agreement:
    """Returns what the ratings in filled sheets say, one file a rater.

    Args:
        folder: The folder of the sheet, with its key.
        files: Filled copies of `sheet.csv`; an item may be left without a rating.

    Raises:
        DataError: If a file is no filled copy of the sheet, there are fewer than two, or no item is rated twice.
    """
    items = _key(folder)
    if len(files) < 2:
        raise DataError(f"{len(files)} filled sheet: agreement needs those of two raters at least")
    rated = [_ratings(file, items) for file in files]
    means = {item: _mean([each[item] for each in rated if item in each]) for item in items}
    known = {item: mean for item, mean in means.items() if mean is not None}
    if not known:
        raise DataError("no sheet has a rating; fill in the column rating")
    if not (shared := [item for item in known if sum(item in each for each in rated) > 1]):
        raise DataError("no item has ratings of two raters; let them rate the same items")
    by_model: dict[str, list[float]] = defaultdict(list)
    for item, mean in known.items():
        by_model[items[item]["model"]].append(mean)
    smooth = [items[item]["smoothness"] or 0.0 if items[item]["counts"] else 0.0 for item in known]
    return Agreement(
        _alpha(rated, shared),
        {model: (sum(each) / len(each), len(each)) for model, each in sorted(by_model.items())},
        _spearman(list(known.values()), smooth),
        len(files),
        len(known),
    )


def _alpha(rated: Sequence[Mapping[str, int]], items: Sequence[str]) -> float | None:
    import krippendorff

    if len({each[item] for each in rated for item in items if item in each}) < 2:
        return None
    data = [[float(each[item]) if item in each else float("nan") for item in items] for each in rated]
    return float(krippendorff.alpha(reliability_data=data, level_of_measurement="ordinal"))


def _spearman(one: Sequence[float], other: Sequence[float]) -> float | None:
    from scipy.stats import spearmanr

    if len(set(one)) < 2 or len(set(other)) < 2:
        return None
    return float(spearmanr(one, other).statistic)


def _mean(values: Sequence[int]) -> float | None:
    return sum(values) / len(values) if values else None


def _key(folder: Path) -> dict[str, Any]:
    file = folder / "key.json"
    if not file.is_file():
        raise DataError(f"{folder} has no key.json; name the folder that `t5vqvae sheet` wrote")
    items: dict[str, Any] = read_json(file)["items"]
    return items


def _ratings(file: Path, items: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    """Returns the ratings in a filled sheet, by item.

    Raises:
        DataError: With the line that is wrong.
    """
    found: dict[str, int] = {}
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            rows = list(csv.DictReader(lines))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read: {error}; give a filled copy of sheet.csv") from None
    for number, row in enumerate(rows, start=2):
        item, rating = str(row.get("item")), (row.get("rating") or "").strip()
        if item not in items or item in found:
            raise DataError(f"{file} line {number}: item {item!r} is none of the sheet, or twice; keep its items")
        shown = row.get("path") or ""
        if shown.split() != items[item].get("path", shown).split():
            raise DataError(f"{file} line {number}: path {shown!r:.60} is not that of item {item}; keep its paths")
        if not rating:
            continue
        if rating not in map(str, SCALE):
            raise DataError(f"{file} line {number}: rating {rating!r} must be {SCALE[0]} to {SCALE[-1]}, or empty")
        found[item] = int(rating)
    return found


def _line(path: RatedPath) -> str:
    return " > ".join(path.texts)


def _page(paths: Sequence[RatedPath]) -> str:
    """Returns the sheet as one page: the question, and the sentences of every item."""
    boxes = "".join(f"<label><input type=radio name=rate-{{0}}>{value}</label> " for value in SCALE)
    items = "".join(
        f"<h2>Item {number}</h2><ol>{''.join(f'<li>{html_text(text)}</li>' for text in path.texts)}</ol>"
        f"<p>{boxes.format(number)}</p>"
        for number, path in enumerate(paths, start=1)
    )
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width,initial-scale=1'><title>Paths between sentences</title>"
        "<style>body{font:16px/1.4 sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem}"
        "li{margin:.1rem 0;overflow-wrap:anywhere}h2{font-size:1rem}</style>"
        f"<h1>Paths between sentences</h1><p>{QUESTION} Write the ratings into sheet.csv, column rating.</p>{items}"
        "</html>\n"
    )
