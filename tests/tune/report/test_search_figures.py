"""The figures of a search's report: curves, best so far, importance with its null, fronts; and none that is empty."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from kept_studies import keep_study, start_trial

from tune.analysis import cost, ped_anova
from tune.cli import main
from tune.report import SearchReport, curves, figures
from tune.report.scales import axis_title, dimension, level_text, scale

NLL, LOCAL = "validation/nll", "control/local_intervention"


def trial(number: int, losses: list[float], status: str = "completed", **metrics: float) -> dict[str, Any]:
    history = {str(50 * (place + 1)): {NLL: loss} for place, loss in enumerate(losses)}
    shown = {NLL: losses[-1], "rate/bits_per_token": 8.0 - number, **metrics} if losses else {}
    overrides = {"optim.learning_rate": 10.0 ** (-number - 1)}
    kept = {"number": number, "overrides": overrides, "status": status, "metrics": shown, "history": history}
    return kept | {"seconds": 60.0, "run_id": f"r{number}", "mlflow_id": None, "steps": 50 * len(losses)}


TRIALS = [
    trial(0, [2.0, 0.5], **{LOCAL: 0.2}),
    trial(1, [3.0], "pruned"),
    trial(2, [1.0, 0.4], **{LOCAL: 0.1}),
    trial(3, [1.0, 0.1], **{LOCAL: 0.9}),
    trial(4, [1.0, 0.3], **{LOCAL: 0.5}),
    trial(5, [], "failed"),
]
COUNTING = {0, 2, 4}
"""Trial 3 breaks a constraint."""


def report(trials: list[dict[str, Any]], **changes: Any) -> SearchReport:
    return SearchReport("quick", "Which?", trials, NLL, "minimize", 4, cost(trials, 2), counting=COUNTING, **changes)


def drawn(page: str) -> list[dict[str, Any]]:
    found = re.search(r'id="figures">(.*?)</script>', page, re.S)
    return json.loads(found[1]) if found else []


def named(figure: Any, name: str) -> dict[str, Any]:
    [trace] = [trace for trace in figure["data"] if trace["name"] == name]
    return dict(trace)


def test_the_best_so_far_takes_trials_that_count_alone_and_reaches_the_last_one() -> None:
    figure = curves.history(TRIALS, NLL, "minimize", COUNTING, {})
    line = named(figure, "best so far, within the constraints")
    assert (line["x"], line["y"]) == ([0, 2, 4, 5], [0.5, 0.4, 0.3, 0.3])
    assert curves.best_so_far(TRIALS[:1] + TRIALS[2:5], NLL, "maximize") == [(0, 0.5)]


def test_every_trial_has_its_curve_and_the_best_lies_on_top() -> None:
    figure = curves.learning(TRIALS, NLL, 4, {3: "http://runs/3"})
    assert figure is not None
    assert [trace["text"][0] for trace in figure["data"]] == ["trial 0", "trial 1", "trial 2", "trial 3", "trial 4"]
    best = named(figure, "trial 4, the best")
    assert (best["x"], best["y"]) == ([50, 100], [1.0, 0.3])
    assert [trace["customdata"][0] for trace in figure["data"]][2:4] == ["#trial-2", "http://runs/3"]
    legend = [trace["name"] for trace in figure["data"] if trace["showlegend"]]
    assert legend == ["completed", "pruned", "trial 4, the best"]


def test_importance_is_drawn_next_to_what_chance_gives() -> None:
    many = [trial(number % 7, [1.0, 0.1 * number]) | {"number": number} for number in range(12)]
    found = ped_anova(many, NLL, "minimize")
    line = named(figures.importances([found]), "PED-ANOVA, objective shuffled")
    assert line["x"] == [found.null] and 0 < found.null <= 1 and line["y"] == ["learning_rate"]


def test_quality_is_drawn_against_rate_and_against_control() -> None:
    made = report(TRIALS)
    page = made.html()
    titles = re.findall(r"<h2>(.*?)</h2>", page)
    assert titles[0] == "How trials learned" and titles[2:4] == ["What quality costs", "Quality and control"]
    against = {figure["layout"]["xaxis"]["title"]["text"]: figure for figure in drawn(page)[2:4]}
    front = named(against["control, local"], "Pareto front")
    # Trial 3 is the best in both, so no other trial is on the front.
    assert (front["x"], front["y"], front["line"]["shape"]) == ([0.9], [0.1], "vh")
    rate = named(against["rate (upper bound), bits a token"], "Pareto front")
    assert (rate["x"], rate["y"]) == ([4.0, 5.0], [0.3, 0.1])
    assert "nll (low is good) against control, local (high is good); completed trials." in page


def test_no_figure_is_empty_whatever_is_missing() -> None:
    for some in ([TRIALS[5]], TRIALS[:1], TRIALS[:2], [trial(0, [math.nan], "diverged")], TRIALS[:3], TRIALS):
        page = report(some).html()
        for figure in drawn(page):
            points = [trace.get("x") or trace.get("dimensions") or [] for trace in figure["data"]]
            assert figure["data"] and all(len(each) > 0 for each in points)
        for section in re.findall(r"<section>(.*?)</section>", page, re.S):
            assert "<p" in section or "<figure" in section or "<table" in section or "<li" in section
    assert drawn(report([TRIALS[5]]).html()) == []
    assert "How trials learned" not in report([TRIALS[1]]).html(), "one milestone is no curve"


def test_while_it_runs_the_report_says_how_many_have_ended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = keep_study(tmp_path, trials=8, ended=3)
    start_trial(paths, 3, planned=8, before=3, ago=10, step=20)
    words = ["report", "kept", "--state", str(tmp_path)]
    page = paths.root / "report" / "report.html"
    with paths.locked():
        assert main(words) == 0
    assert "3 of 8 trials have ended, 1 is running, about " in page.read_text()
    assert "3 of 8 trials have ended, 1 is running" in (page.parent / "report.md").read_text()
    assert main(words) == 0
    assert (
        "3 of 8 trials have ended, and nothing runs: the command that started the study resumes it." in page.read_text()
    )
    paths = keep_study(tmp_path, "done")
    assert main(["report", "done", "--state", str(tmp_path)]) == 0
    assert "have ended" not in (paths.root / "report" / "report.html").read_text()
    capsys.readouterr()


def test_axes_have_units_and_ticks_that_read_as_numbers() -> None:
    assert axis_title(NLL) == "nll, nats a token" and axis_title(LOCAL) == "control, local"
    assert scale([0.02, 0.3]) == {} and scale([]) == {} and scale([-1.0, 30.0]) == {}
    long = scale([0.02, 3.0])
    assert long["type"] == "log" and long["tickvals"][:4] == [0.01, 0.02, 0.05, 0.1]
    assert long["ticktext"][:4] == ["0.01", "0.02", "0.05", "0.1"]
    assert [level_text(each) for each in ("0.0039308501221183255", "512", "2e+02", "ema", "True")] == [
        "0.00393", "512", "200", "ema", "True",
    ]  # fmt: skip
    assert dimension("position", [0, 2, 1, 0])["ticktext"] == ["0", "1", "2"]
    assert dimension("rate", [0.5, 0.25, 1.0])["ticktext"] == ["0.25", "0.438", "0.625", "0.812", "1"]
    assert dimension("decay", [0.5, None, 1.0])["ticktext"][0] == "absent"
