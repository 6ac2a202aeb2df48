"""Reports: offline, whole, honest, and every number the one that was computed."""

from __future__ import annotations

import base64
import csv
import gzip
import io
import json
import math
import os
import re
import shutil
import subprocess
import tomllib
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from t5vqvae.spec.run import RunSpec
from tune.analysis import (
    Question,
    RunRow,
    SequentialPlan,
    compare_arms,
    cost,
    factorial_effects,
    fraction_contrasts,
    full_contrasts,
    paired_effect,
    smallest_fraction,
)
from tune.cli import main
from tune.records.record import TrialRecord
from tune.records.study_paths import StudyPaths
from tune.report import AblationReport, SearchReport
from tune.report.factors import Factors
from tune.report.page import anchor, link
from tune.report.sentences import answer, interval, p_text
from tune.spec.search_spec import SearchSpec

ROOT = Path(__file__).parents[3]
METRIC = "validation/nll_per_char"
SEEDS = tuple(range(8))
SHIFTS = {"worse arm": 0.2, "same": 0.0005, "<b>odd & name</b>": -0.03}


def rows(arm: str, shift: float, seed_scale: float = 0.02) -> list[RunRow]:
    rng = np.random.default_rng(len(arm))
    levels = np.random.default_rng(0).normal(0.6, 0.1, len(SEEDS))
    noise = rng.normal(0, seed_scale if abs(shift) > 0.001 else 0.002, len(SEEDS))
    return [
        RunRow(
            arm,
            seed,
            "completed",
            {METRIC: levels[seed] + shift + noise[seed] * bool(shift), "rate/bits_per_token": 8 + shift},
            run_id=f"{anchor(arm)}{seed}",
            url=f"http://tracking.example/{anchor(arm)}/{seed}",
        )
        for seed in SEEDS
    ]


def comparison(shifts=None, change=lambda row: row, **question):
    shifts = SHIFTS if shifts is None else shifts
    everything = [change(row) for arm, shift in {"baseline": 0.0, **shifts}.items() for row in rows(arm, shift)]
    asked = Question(METRIC, "minimize", **({"margin": 0.01} | question))
    return compare_arms(everything, "baseline", list(shifts), SEEDS, asked)


def report(found=None, **changes) -> AblationReport:
    return AblationReport("parts", "What does <each> part give?", found or comparison(), **changes)


def trials(num: int = 24) -> list[dict]:
    rng, found = np.random.default_rng(1), []
    for number in range(num):
        overrides = {"optim.learning_rate": 10 ** rng.uniform(-4, -2), "quantizer.name": str(rng.choice(["ema", "vq"]))}
        if overrides["quantizer.name"] == "ema":
            overrides["quantizer.decay"] = rng.uniform(0.9, 0.99)
        nll = (math.log10(overrides["optim.learning_rate"]) + 3) ** 2 + 0.1 * rng.random()
        metrics = {METRIC: nll, "rate/bits_per_token": 8 + rng.random(), "cost/step_seconds": 0.1 + 0.01 * rng.random()}
        status = "pruned" if number % 5 == 4 else "diverged" if number == 7 else "completed"
        metrics = {METRIC: math.nan} if status == "diverged" else metrics
        record = {"number": number, "overrides": overrides, "status": status, "metrics": metrics, "seconds": 60.0}
        found.append(record | {"run_id": f"r{number}", "mlflow_id": f"m{number}", "steps": 100})
    return found


def search(found=None, best=None, **changes) -> SearchReport:
    found = trials() if found is None else found
    return SearchReport("quick", "Which is best?", found, METRIC, "minimize", best, cost(found, 2), **changes)


def assets() -> list[Path]:
    return sorted((ROOT / "tune" / "report" / "assets").iterdir())


def figures_of(page: str) -> list[dict]:
    return json.loads(re.search(r'id="figures">(.*?)</script>', page, re.S)[1])


@pytest.mark.parametrize("made", [report(), search(best=3)], ids=["ablation", "search"])
def test_the_page_is_one_small_file_that_fetches_nothing(made):
    page = made.html()
    assert len(page.encode()) < 3_000_000
    assert not re.search(r"<(script|link|img|iframe)[^>]*(src|href)=", page)
    packed = re.search(r'id="plotly">(.*?)</script>', page)[1]
    assert (
        gzip.decompress(base64.b64decode(packed)) == files("plotly").joinpath("package_data/plotly.min.js").read_bytes()
    )
    assert 'name="viewport" content="width=device-width' in page
    assert page == made.html(), "the same study gives the same file"
    assert page.count('class="plot"') == len(figures_of(page)) > 1


def test_style_and_script_are_files_that_a_wheel_has_too():
    page = report().html()
    assert [file.name for file in assets()] == ["report.css", "report.js"]
    assert all(file.read_text(encoding="utf-8") in page for file in assets())
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["tune"]
    shipped = {file for pattern in data for file in (ROOT / "tune").glob(pattern)}
    assert set(assets()) <= shipped


@pytest.mark.parametrize("name", ["ink", "soft", "good", "bad", "same", "open", "warn"])
def test_a_colour_of_text_can_be_read_on_white(name):
    css = (ROOT / "tune" / "report" / "assets" / "report.css").read_text()
    [number] = re.findall(rf"--{name}:#(\w{{6}})", css)
    parts = [int(number[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    light = sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    assert 1.05 / (light + 0.05) >= 4.5, "WCAG 2, level AA"


@pytest.mark.parametrize("made", [report(), search(best=3)], ids=["ablation", "search"])
def test_figures_are_strict_json_without_nan(made):
    text = re.search(r'id="figures">(.*?)</script>', made.html(), re.S)[1]
    json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


def test_the_first_screen_has_question_answer_and_forest_without_a_script():
    page = report().html()
    first = page[page.index("<main>") : page.index("</section>")]
    assert "What does &lt;each&gt; part give?" in first
    assert "worse arm, nll_per_char +0.2" in first and "[+0." in first
    assert first.count('class="dot"') == len(SHIFTS)
    assert "<script" not in first


def test_names_cannot_break_the_page():
    page = report().html()
    assert "<b>odd" not in page.replace("\\u003c", "<").split('id="figures"')[0]
    assert "&lt;b&gt;odd &amp; name&lt;/b&gt;" in page
    assert link("x", "javascript:alert(1)") == "x"
    assert link("<", 'http://a/"') == '<a href="http://a/&quot;">&lt;</a>'


def test_every_run_is_linked_and_every_number_leads_to_its_runs():
    found = comparison()
    page = report(found).html()
    for row in [*found.baseline_rows, *(row for arm in found.arms for row in arm.rows)]:
        assert f'href="{row.url}"' in page
    assert "of every run, linked to its record; run ids and all metrics are in runs.parquet." in page
    without = report(comparison(change=lambda row: replace(row, url=None))).html()
    assert "of every run; run ids and all metrics are in runs.parquet." in without
    for arm in found.arms:
        assert f'id="runs-{anchor(arm.arm)}"' in page
        assert f'href="#runs-{anchor(arm.arm)}"' in page
    targets = set(re.findall(r'id="([^"]+)"', page))
    assert {target[1:] for target in re.findall(r'href="(#[^"]+)"', page)} <= targets


def test_the_forest_is_drawn_to_scale():
    page = report(comparison({"worse arm": 0.2})).html()
    low, width = map(float, re.search(r'class="bar" style="left:([\d.]+)%;width:([\d.]+)%', page).groups())
    dot = float(re.search(r'class="dot" style="left:([\d.]+)%', page)[1])
    effect = comparison({"worse arm": 0.2}).arms[0].effect
    assert (dot - 50) / (low + width - 50) == pytest.approx(effect.mean / effect.high, rel=1e-3)
    assert (low - 50) / (dot - 50) == pytest.approx(effect.low / effect.mean, rel=1e-3)
    assert low + width == pytest.approx(50 + 50 / 1.05, abs=0.02), "the farthest end is near the edge"


def test_the_answer_says_what_was_shown_and_no_more():
    sentence = answer(comparison())
    assert sentence.startswith(
        "Of 3 arms 1 is better, 1 is worse and 1 is equivalent; the largest effect is worse arm,"
    )
    assert sentence.endswith("worse than the baseline.")
    assert "equivalent within ±0.01" in answer(comparison({"same": 0.0005}))
    assert "not shown to differ from the baseline" in answer(comparison({"faint": 0.012}, margin=None))
    assert answer(compare_arms([], "baseline", ["a"], SEEDS, Question(METRIC, "minimize"))).startswith("No arm has")


def test_a_diverged_run_is_on_the_first_screen():
    def broken(row: RunRow) -> RunRow:
        bad = row.arm == "worse arm" and row.seed == 2
        return RunRow(row.arm, row.seed, "diverged", row.metrics, row.run_id, url=row.url) if bad else row

    found = comparison({"worse arm": 0.2}, broken)
    page = report(found).html()
    first = page[: page.index("</section>")]
    assert "no claim, because it diverged on seed 2" in first
    assert "unstable" in first
    assert "it diverged on seed 2; the effect is over the other pairs" in report(found).markdown()


def wanted(text: str) -> int:
    """The seeds that a report advises to run."""
    return int(re.search(r"you asked about 0.01: run (\d+)", text)[1])


def test_a_leaking_arm_and_an_undecided_one_are_explained():
    def leaks(row: RunRow) -> RunRow:
        return RunRow(row.arm, row.seed, row.status, {METRIC: row.metrics[METRIC]}) if row.arm == "none" else row

    text = report(comparison({"none": -0.3, "faint": 0.012}, leaks)).markdown()
    assert "none: no rate, so no bottleneck: its latent leaks" in text
    surer = report(comparison({"faint": 0.012}, power=0.95)).markdown()
    assert "faint: eight seeds can show" in surer and wanted(surer) > wanted(
        report(comparison({"faint": 0.012})).markdown()
    )
    assert "faint: eight seeds can show a difference of" in text and "you asked about 0.01: run" in text


def test_csv_holds_the_numbers_themselves():
    found = comparison()
    [made] = [path for path in [list(csv.DictReader(io.StringIO(_texts(report(found))["effects.csv"])))]]
    for line, arm in zip(made, found.arms, strict=True):
        assert float(line["mean"]) == arm.effect.mean and float(line["low"]) == arm.effect.low
        assert float(line["p_adjusted"]) == arm.p_adjusted and line["verdict"] == arm.verdict
        assert float(line["rate/bits_per_token:mean"]) == arm.secondary["rate/bits_per_token"].mean
    runs = list(csv.DictReader(io.StringIO(_texts(report(found))["runs.csv"])))
    assert len(runs) == 8 * 4
    by_key = {(line["arm"], int(line["seed"])): float(line[METRIC]) for line in runs}
    differences = {s: by_key["worse arm", s] - by_key["baseline", s] for s in SEEDS}
    assert paired_effect(differences).mean == found.arm("worse arm").effect.mean, "recomputed from the runs alone"


def _texts(made) -> dict[str, str]:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        return {path.name: path.read_text(encoding="utf-8") for path in made.write(Path(folder))}


def test_latex_is_escaped_and_its_columns_agree():
    text = _texts(report())["effects.tex"]
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    columns = len(re.search(r"begin\{tabular\}\{(\w+)\}", text)[1])
    assert len(body) == 4
    assert all(len(re.findall(r"(?<!\\)&", line)) == columns - 1 for line in body)
    assert r"odd \& name" in text and r"nll\_per\_char" in text
    assert text.count("{") == text.count("}")


def test_factorial_effects_name_their_aliases():
    design = smallest_fraction(("quantizer.start", "quantizer.selection", "model.dropout", "optim.grad_clip"), 4)
    cells = [tuple(int(sign > 0) for sign in row) for row in design.signs]
    values = {cell: {s: s + 2.0 * cell[0] + 0.01 * s * cell[1] for s in SEEDS} for cell in cells}
    effects = factorial_effects(values, fraction_contrasts(design), design)
    levels = {path: ("off", "on") for path in design.factors}
    made = report(effects=effects, levels=levels)
    assert "start=on x selection=on" in made.html() and "dropout x grad_clip" in made.html()
    assert "| start=on | +2.0 [" in made.markdown()


def test_the_answer_of_a_factorial_is_about_its_factors():
    contrasts = full_contrasts({"quantizer.estimator": 2, "quantizer.name": 2})
    cells = {(a, b): {s: s - 0.5 * a + 0.001 * s * b for s in SEEDS} for a in range(2) for b in range(2)}
    usage = {cell: dict.fromkeys(SEEDS, 0.1 * cell[0]) for cell in cells}
    question = Question("validation/nll", "minimize", margin=0.1, secondary=("codebook/usage",))
    effects = factorial_effects(cells, contrasts, None, question, {"codebook/usage": usage})
    levels = {"quantizer.estimator": ("straight_through", "rotation"), "quantizer.name": ("ema", "vq")}
    found = Factors(effects, levels, question)
    assert [e.verdict for e in effects] == ["better", "equivalent", "equivalent"]
    assert found.answer().startswith("Averaged over the other factors: estimator=rotation, nll \N{MINUS SIGN}0.5")
    assert "better than estimator=straight_through; quantizer=vq" in found.answer()
    assert found.answer().endswith("Of 1 interactions 1 is equivalent.")
    assert "| +0.10 [+0.10, +0.10] |" in found.markdown().splitlines()[2]
    assert [line.verdict for line in found.lines()] == ["better", "equivalent", "equivalent"]


def test_digits_follow_the_interval():
    assert interval(paired_effect([0.118, 0.1, 0.136, 0.12], test="t")).startswith("+0.118 [")
    assert interval(paired_effect([1180.0, 1000.0, 1360.0], test="t")) == "+1180 [+733, +1627]"
    assert interval(paired_effect([0.5])) == "+0.50 [?, ?]"
    assert interval(paired_effect([0.0] * 6)) == "0.000 [0.000, 0.000]"
    assert (p_text(0.0001), p_text(0.0391), p_text(1.0)) == ("p < .001", "p = .039", "p = 1.000")


def test_a_search_says_what_its_best_trial_is_worth():
    made = search(best=3, urls={3: "http://tracking.example/3"})
    page, text = made.html(), made.markdown()
    assert "Trial 3 of 24 is best" in page and "the baseline, trial 0, had" in page
    assert "looks better than it is" in page
    assert "4 of 24 trials were pruned and do not count" in page
    assert "fANOVA drops conditional settings: quantizer.decay" in page
    assert 'href="http://tracking.example/3"' in page
    assert "19 completed, 1 diverged, 4 pruned" in text
    lines = list(csv.DictReader(io.StringIO(made.csv())))
    assert [int(line["number"]) for line in lines] == list(range(24))
    kinds = {trace["type"] for figure in figures_of(page) for trace in figure["data"]}
    assert kinds == {"scatter", "bar", "parcoords", "contour"}


def test_a_search_without_a_finished_trial_still_has_a_report():
    failed = [trial | {"status": "failed", "metrics": {}} for trial in trials(3)]
    made = search(failed)
    assert "No trial of 3 counts as best" in made.html()
    assert "too few to rank settings" in made.html()
    assert "| 0 | failed | - | - |" in made.markdown()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None and not os.environ.get("CI"), reason="needs chromium")
@pytest.mark.parametrize("made", [report(), search(best=3)], ids=["ablation", "search"])
def test_a_browser_without_a_network_draws_every_figure(made, tmp_path):
    [page] = [path for path in made.write(tmp_path) if path.suffix == ".html"]
    flags = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--enable-unsafe-swiftshader",
        "--host-resolver-rules=MAP * ~NOTFOUND",
    ]
    command = ["chromium", *flags, f"--user-data-dir={tmp_path}/profile", "--virtual-time-budget=20000", "--dump-dom"]

    def shown() -> str:
        return subprocess.run([*command, page.as_uri()], capture_output=True, text=True, timeout=120, check=True).stdout

    dom, text = shown(), page.read_text(encoding="utf-8")
    assert len(re.findall(r'class="plot js-plotly-plot"', dom)) == len(figures_of(text))
    assert "cannot be drawn" not in re.sub(r"<script.*?</script>", "", dom, flags=re.S)
    made.write(tmp_path, light=True)
    without = re.sub(r"<script.*?</script>", "", shown(), flags=re.S)
    assert without.count("cannot be drawn here (Plotly is fetched from cdn.plot.ly)") == len(figures_of(text))


def test_a_light_page_says_the_same_in_a_tenth_of_the_bytes():
    whole = search(best=3).html()
    page = search(best=3).html(light=True)
    assert len(page) < 200_000 < 1_500_000 < len(whole)
    assert figures_of(page) == figures_of(whole)
    assert page.count("https://cdn.plot.ly/plotly-") == 1 and "application/gzip" not in page


def test_a_control_without_a_bottleneck_does_not_lead_the_answer():
    def leaks(row: RunRow) -> RunRow:
        return RunRow(row.arm, row.seed, row.status, {METRIC: row.metrics[METRIC]}) if row.arm == "none" else row

    assert "the largest effect is small arm," in answer(comparison({"none": -0.5, "small arm": -0.1}, leaks))
    assert answer(comparison({"none": -0.5}, leaks)).endswith("as a control without a bottleneck.")


def test_the_command_reports_a_study_from_its_own_records(tmp_path, capsys):
    paths = StudyPaths(tmp_path, "tiny")
    space = {"optim.learning_rate": {"type": "float", "low": 1e-4, "high": 1e-1, "log": True}}
    spec = SearchSpec.parse({"name": "tiny", "space": space, "objectives": [{"metric": METRIC}]})
    assert main(["report", "tiny", "--state", str(tmp_path)]) == 2
    assert "there is no study tiny" in capsys.readouterr().err
    paths.root.mkdir(parents=True)
    spec.write(paths.spec)
    assert main(["report", "tiny", "--state", str(tmp_path)]) == 2
    assert "no trial of study tiny has ended yet" in capsys.readouterr().err
    for number, rate in enumerate((RunSpec().optim.learning_rate, 1e-3, 1e-2)):
        metrics = {METRIC: 1.0 + number, "rate/bits_per_token": 8.0}
        overrides = {"optim.learning_rate": rate}
        record = TrialRecord("tiny", number, overrides, f"r{number}", None, "completed", 10, metrics, seconds=36.0)
        paths.trial(number).mkdir(parents=True)
        record.write(paths.trial(number))
    assert main(["report", "tiny", "--state", str(tmp_path)]) == 0
    written = capsys.readouterr().out.split()
    assert [path.rsplit("/", 1)[1] for path in written] == ["report.html", "report.md", "trials.csv"]
    text = (paths.root / "report" / "report.md").read_text(encoding="utf-8")
    assert "Trial 0 of 3 is best: nll_per_char 1 at 8 bits a token (upper bound)." in text
    assert "0.03 hours of trials" in text


def test_a_search_report_shows_the_joint_rate_where_every_trial_with_a_rate_has_it() -> None:
    found = trials(4)
    for trial in found[:3]:
        trial["metrics"]["rate/joint_bits_per_token"] = trial["metrics"]["rate/bits_per_token"] - 5
    mixed, whole = (
        SearchReport("q", "Which?", some, METRIC, "minimize", 0, cost(some, 2)) for some in (found, found[:3])
    )
    bits = found[0]["metrics"]["rate/joint_bits_per_token"]
    assert f" at {bits:.3g} bits a token (joint rate)" in mixed.answer() and mixed.answer().count("bits") == 1
    for report, column in ((mixed, "rate (upper bound), bits a token"), (whole, "joint rate, bits a token")):
        head, *rows = [line for line in report.markdown().splitlines() if line.startswith("|")]
        assert column in head and head.count("bits a token") == 1
        assert (f"{bits:.4g}" in next(row for row in rows if row.startswith("| 0 |"))) == (report is whole)


def test_a_search_report_shows_labels_and_the_tokens_own_entropy_next_to_the_rate() -> None:
    found = trials(3)
    assert not {"labels", "entropy"} & set(search(found).markdown().split()), "no trial has either"
    for trial in found:
        trial["metrics"]["rate/token_entropy_bits"] = 4.25
    found[1]["tags"] = {"label/names_tokens": "names tokens: why", "signature/x": "y"}
    report = search(found)
    head, _, *lines = [line for line in report.markdown().splitlines() if line.startswith("|")]
    assert "rate (upper bound), bits a token | entropy of the tokens, bits a token |" in head and "| labels |" in head
    assert all("| 4.25 |" in line for line in lines)
    assert [line.endswith("| names tokens |") for line in lines] == [line.startswith("| 1 |") for line in lines]
    assert ">names tokens</td>" in report.html() and "entropy of the tokens, bits a token" in report.html()
    assert [row["labels"] for row in csv.DictReader(io.StringIO(report.csv()))] == ["", "names tokens", ""]


def _bad_folder(kind: str, folder: Path) -> str:
    file = folder / "file"
    file.write_text("kept")
    (folder / "nowhere").symlink_to(folder / "missing" / "deep")
    bad = {"file": file, "below a file": file / "x", "dangling link": folder / "nowhere", "long": folder / ("x" * 300)}
    return str({"proc": "/proc/x", **bad}[kind])


@pytest.mark.parametrize("kind", ["proc", "file", "below a file", "dangling link", "long"])
def test_a_folder_that_cannot_be_written_is_refused_before_the_report_is_computed(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = StudyPaths(tmp_path, "tiny")
    SearchSpec.parse({"name": "tiny", "space": {}, "objectives": [{"metric": METRIC}]}).write(paths.spec)
    monkeypatch.setattr("tune.report.build._write_search", lambda *_: pytest.fail("the report was computed"))
    folder = _bad_folder(kind, tmp_path)
    assert main(["report", "tiny", "--state", str(tmp_path), "--into", folder]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"--into {folder} cannot be written: ") and line.endswith("; name another folder")
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, "the baseline, trial 0, had 0.4."),
        ({"status": "pruned", "steps": 80}, "the baseline, trial 0, was pruned at step 80."),
        ({"status": "diverged", "metrics": {}}, "the baseline, trial 0, diverged at step 100."),
        ({"metrics": {METRIC: 0.4, "rate/bits_per_token": 7.9}}, "had 0.4 at 7.9 bits a token"),
    ],
)
def test_the_baseline_is_told_as_it_ended(changed, said):
    found = trials(3)
    found[0] |= {"status": "completed", "metrics": {METRIC: 0.4}, **changed}
    assert said in search(found, best=1, baseline=0, counting={0, 1}).answer()
    if found[0]["status"] == "completed":
        broken = search(found, best=1, baseline=0, counting={1}).answer()
        assert broken.endswith(", and breaks a constraint.")


def test_the_rules_of_a_sequential_plan_name_the_statistic_of_its_bounds():
    plain, planned = report(), report(comparison(plan=SequentialPlan((3, len(SEEDS)))))
    assert "paired sign-flip permutation test" in plain._rules() and "permutation" not in planned._rules()
    assert "paired t test, a group-sequential plan" in planned._rules()
