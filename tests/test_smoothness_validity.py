"""The page that sets smoothness next to other measures: which configurations count, and a planted agreement."""

from __future__ import annotations

import re
from pathlib import Path

from tests.benchmarks.control_rows import MODELS
from tests.benchmarks.smoothness_validity import BITS, DISTANCES, EXACT, NEEDED, SMOOTHNESS, page, read, save, tabled

FRECHET = DISTANCES["Frechet distance"]
PLANTED = {
    model: {
        SMOOTHNESS: 0.01 * number,
        FRECHET: 5.0 - 0.1 * number,
        EXACT: 0.95 + 0.001 * (number % 7),
        BITS: number % 5,
    }
    for number, model in enumerate(MODELS[: NEEDED + 1])
}


def row(text: str, name: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {name}")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_only_quantized_configurations_that_reconstruct_count() -> None:
    found = tabled()
    assert len(found) >= NEEDED and not any(model.quantizer == "none" for model in found)
    assert all(values["exact match"] > 0.9 and 0 <= values["MIG"] <= 1 for values in found.values())
    at_end = [model for model in found if model.position == "end"]
    cells = row(page({}), "InfoM")
    assert int(cells[1]) == len(at_end) == sum(int(cell.split(", ")[-1]) for cell in cells[4:])


def test_a_planted_agreement_is_found_and_too_few_configurations_say_nothing() -> None:
    assert row(page(PLANTED), "Frechet")[1:3] == [str(NEEDED + 1), "-1.00 [-1.00, -1.00]"]
    few = dict(list(PLANTED.items())[: NEEDED - 1])
    assert row(page(few), "Frechet")[1:3] == [str(NEEDED - 1), f"- (fewer than {NEEDED})"]
    poor = {model: {**values, EXACT: 0.5} for model, values in PLANTED.items()}
    assert row(page(poor), "Frechet")[1] == "0"


def test_the_file_gives_back_what_was_measured(tmp_path: Path) -> None:
    save(tmp_path / "rows.csv", PLANTED)
    found = read(tmp_path / "rows.csv")
    # A page says under which load it was made, which the next moment is another.
    pages = [re.sub(r"a load of \d+\.\d", "a load", page(each)) for each in (found, PLANTED)]
    assert set(found) == set(PLANTED) and pages[0] == pages[1]
