"""What a user sees in MLflow, read from the pages of a real server by a real browser and compared with the records."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from browser import chromium, mlflow_server
from tracked_study import PRUNED, QUESTION, run_study

from t5vqvae.evaluation.marked_errors import marked
from t5vqvae.runs.rerun import rerun_command
from t5vqvae.tracking import Tracker
from t5vqvae.tracking.server.runs import TRAINING_PAGES
from t5vqvae.training.checkpoint import read_milestone
from tune.promote import promote
from tune.promotion.outcome import Promotion
from tune.records.record import TrialRecord
from tune.spec.search_spec import SearchSpec

pytestmark = pytest.mark.slow
NAMES = ("0 ema K=16 pos=1", "1 ema K=64 pos=0", "2 ema pos=0 (pruned)")


@dataclass
class Seen:
    """A study, its promotion, and a browser on the server that has them."""

    spec: SearchSpec
    records: dict[int, TrialRecord]
    parent: str
    promotion: Promotion
    experiment: str
    address: str
    page: Any
    folder: Path

    def read(self, place: str, wait_for: str) -> str:
        """Opens a page of the server, waits for a text, and returns all of the page's text, with single spaces."""
        self.page.goto("about:blank")  # a change of the address after `#` alone leaves parts of the page before
        self.page.goto(f"{self.address}/{place}")
        self.page.get_by_text(wait_for).first.wait_for()
        self.page.wait_for_timeout(1000)
        return self.text()

    def text(self) -> str:
        return " ".join(str(self.page.inner_text("body")).split())

    def keep(self, name: str) -> None:
        """Keeps a screenshot for whoever looks at the test's folder."""
        self.page.screenshot(path=self.folder / f"{name}.png")

    def reconstructions(self, number: int) -> list[dict[str, str]]:
        """Returns what the trial's checkpoint says that it decoded, marked as MLflow shows it."""
        checkpoint = Path(str(self.records[number].checkpoint))
        return marked(read_milestone(checkpoint)["samples"])

    def run(self, number: int | None) -> str:
        run = self.parent if number is None else self.records[number].mlflow_id
        return f"#/experiments/{self.experiment}/runs/{run}"


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    state = tmp_path_factory.mktemp("seen")
    uri = f"sqlite:///{state}/mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        spec, paths, result = run_study(state, uri)
        promotion = promote(paths)
    experiment = Tracker(uri, spec.name).destination.find_or_create()
    records = {record.number: record for record in result.records}
    with mlflow_server(uri, state / "server.log") as address, chromium(1280, 1500) as page:
        found = Seen(
            spec,
            records,
            str(result.mlflow_parent_id),
            promotion,
            experiment,
            address,
            page,
            tmp_path_factory.mktemp("shots"),
        )
        found.read(f"#/experiments/{experiment}/runs?{TRAINING_PAGES}", "Run Name")
        assistant = page.get_by_role("button", name=re.compile("close", re.IGNORECASE))
        if assistant.count():
            assistant.last.click()
        yield found


def test_the_experiment_opens_for_training_with_its_question_and_a_row_for_each_trial(seen: Seen) -> None:
    text = seen.read(f"#/experiments/{seen.experiment}?{TRAINING_PAGES}", "Run Name")
    assert "/runs" in seen.page.url, "the table of runs, not an empty page of traces"
    assert QUESTION in text and "4 matching runs" in text and seen.spec.name in text
    seen.page.locator(".ag-row").get_by_role("button").first.click()  # the plus before the study: its trials
    for name in NAMES:
        seen.page.get_by_text(name, exact=True).wait_for()
    seen.keep("experiment")


def test_two_trials_are_compared_by_their_settings_and_metrics(seen: Seen) -> None:
    runs = ",".join(f'"{seen.records[number].mlflow_id}"' for number in (0, 1))
    place = f'#/compare-runs?runs=[{runs}]&experiments=["{seen.experiment}"]&{TRAINING_PAGES}'
    text = seen.read(place, "Parameters")
    assert all(name in text for name in NAMES[:2])
    words = re.search(r"Metrics Show diff only (.+?) Artifacts ", text)
    assert words is not None
    names = [word for word in words[1].split() if "/" in word]  # the names, then two values of each
    values = words[1].split()[len(names) :]
    metrics = [seen.records[number].metrics for number in (0, 1)]
    both = [name for name in names if all(name in each for each in metrics)]
    assert {"codebook/perplexity", "rate/joint_bits_per_token"} <= set(both)
    for name in both:
        shown = [float(value) for value in values[2 * names.index(name) :][:2]]
        assert shown == pytest.approx([each[name] for each in metrics], rel=1e-3, abs=1e-3), name
    assert "quantizer.codebook_size 16 64" in text and "model.position 1 0" in text
    seen.keep("compare")


def test_the_study_s_page_says_question_state_best_and_what_to_do_next(seen: Seen) -> None:
    text = seen.read(f"{seen.run(None)}?{TRAINING_PAGES}", "Best trial")
    best = min((r for r in seen.records.values() if r.status == "completed"), key=lambda r: r.metrics["validation/nll"])
    assert QUESTION in text and "3 of 4 trials have ended (2 completed, 1 pruned)" in text
    for record in seen.records.values():
        if record.status == "completed":
            row = f"{record.metrics['validation/nll']:.4g} {record.metrics['rate/joint_bits_per_token']:.4g}"
            assert row in text
    assert f"t5vqvae promote {seen.spec.name}" in text and "t5vqvae search ./study.yaml" in text
    assert "math/train" in text, "the data set"
    seen.keep("study")
    seen.page.get_by_role("link", name=re.compile(rf"^{best.number} ema")).last.click()
    seen.page.get_by_text("t5vqvae train").first.wait_for()
    assert str(best.mlflow_id) in seen.page.url, "the link leads to the best trial"


def test_a_pruned_trial_is_no_crash_and_has_its_spec_and_the_command_that_reruns_it(seen: Seen) -> None:
    text = seen.read(f"{seen.run(PRUNED)}?{TRAINING_PAGES}", "t5vqvae train")
    assert "(pruned)" in text and "Finished" in text and "Failed" not in text and "Killed" not in text
    spec = seen.spec.run_spec({**seen.records[PRUNED].overrides, "train.num_workers": 1})
    assert rerun_command(spec) in text
    text = seen.read(f"{seen.run(PRUNED)}/artifacts/spec.json?{TRAINING_PAGES}", "codebook_size")
    assert f'"position": {spec.model.as_dict()["position"]}' in text
    seen.keep("pruned")


def test_a_trial_s_artifacts_show_the_plot_and_the_exact_reconstructions(seen: Seen) -> None:
    seen.read(f"{seen.run(1)}/artifacts/codebook_usage.svg?{TRAINING_PAGES}", "codebook_usage.svg")
    image = seen.page.locator("img[src*='codebook_usage'], img[src^='blob:'], svg[viewBox='0 0 640 360']").first
    image.wait_for()
    box = image.bounding_box()
    assert box is not None and box["width"] > 300 and box["height"] > 150, "an SVG without a size is an empty frame"
    seen.keep("artifacts")
    text = seen.read(f"{seen.run(1)}/artifacts/reconstructions.json?{TRAINING_PAGES}", "errors")
    columns = text.partition("exact source target decoded codes errors")[2]
    for row in seen.reconstructions(1):
        assert " ".join(f"{row['exact']} {row['source']}".split()) in columns
        assert row["exact"] == "yes" or row["errors"] in columns, "the errors are marked"


def test_the_report_is_shown_inside_mlflow(seen: Seen) -> None:
    seen.read(f"{seen.run(None)}/artifacts/report.html?{TRAINING_PAGES}", "report.html")
    report = " ".join(seen.page.frame_locator("iframe").first.locator("body").inner_text(timeout=60_000).split())
    first, best = (seen.records[number].metrics["validation/nll"] for number in (0, 1))
    assert f"nll {best:.4g} at" in report and f"had {first:.4g}" in report and "2 completed, 1 pruned" in report
    seen.keep("report")


def test_the_metrics_of_every_test_set_stand_under_test(seen: Seen) -> None:
    text = seen.read(f"{seen.run(1)}/model-metrics?{TRAINING_PAGES}", "test/VAR")
    sections = re.findall(r"(\S+) \((\d+)\) Add chart", text)
    named = {name for name, number in sections if int(number)}
    sets = {key.split("/")[0] for key in seen.promotion.test_metrics}
    assert {name if name.startswith("test") else f"test/{name}" for name in sets} <= named
    assert not named & {name for name in sets if not name.startswith("test")}


def test_the_version_s_page_is_a_card_with_the_tested_numbers(seen: Seen) -> None:
    text = seen.read(f"#/models/t5vqvae/versions/1?{TRAINING_PAGES}", "Limits.")
    tested = seen.promotion.test_metrics
    assert f"{tested['test/nll']:.4g} nats a token" in text
    assert f"{tested['test/rate/joint_bits_per_token']:.4g} bits a token" in text
    assert f"VAR {tested['VAR/exact_match']:.4g}" in text and "licence: Apache-2.0" in text and "Seed 0 alone" in text
    assert f"test.test/nll {tested['test/nll']:.6g}" in text and "@ champion" in text
    assert '{"' not in text.partition("Tags")[2], "tags are short"
    seen.keep("version")
