"""Aliases: challenger first, champion only for the one who won, also against another machine; and back again."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from promotions import add_trial

from t5vqvae.errors import SettingError
from t5vqvae.tracking import Tracker
from t5vqvae.tracking.server.model_registry import Version
from tune.cli import main
from tune.promote import promote
from tune.promotion.champion import award, roll_back
from tune.promotion.outcome import Wishes
from tune.records.study_paths import StudyPaths

REFUSED = "version 2 was rolled back; --promote takes the alias anyway"


@dataclass
class Registry:
    """A registry in memory; `meddle` is what another machine does at the n-th reading of the alias `champion`."""

    pointed: dict[str, str] = field(default_factory=dict)
    tags: dict[str, dict[str, str]] = field(default_factory=lambda: {str(n): {} for n in range(1, 6)})
    meddle: dict[int, str] = field(default_factory=dict)
    name: str = "t5vqvae"
    reads: int = 0

    def by_alias(self, alias: str) -> Version | None:
        if alias == "champion":
            self.reads += 1
            self.pointed |= {"champion": self.meddle[self.reads]} if self.reads in self.meddle else {}
        number = self.pointed.get(alias)
        return None if number is None else self.versions()[number]

    def versions(self) -> dict[str, Version]:
        return {number: Version(number, "", tags) for number, tags in self.tags.items()}

    def point(self, alias: str, version: str | None) -> None:
        self.pointed.pop(alias, None)
        self.pointed |= {} if version is None else {alias: version}

    def tag(self, version: str, tags: dict[str, object]) -> None:
        self.tags[version] |= {name: str(value) for name, value in tags.items()}


def given(registry: Registry, number: str, seen: str | None, passed: bool) -> tuple[str, tuple[str, ...]]:
    versions = registry.versions()
    found = award(registry, "champion", versions[number], None if seen is None else versions[seen], passed)  # type: ignore[arg-type]
    return found.alias, found.reasons


def test_the_alias_moves_to_what_passed_and_back_by_rollback_step_by_step() -> None:
    registry = Registry()
    assert given(registry, "1", None, True) == ("champion", ())
    assert given(registry, "2", "1", False) == ("challenger", ())
    assert registry.pointed == {"champion": "1", "challenger": "2"}
    assert given(registry, "3", "1", True) == ("champion", ())
    assert given(registry, "4", "3", True) == ("champion", ())
    assert registry.pointed == {"champion": "4", "challenger": "2"}
    assert roll_back(registry)[1] == "3" and roll_back(registry)[1] == "1"  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="no version is known to have held it before"):
        roll_back(registry)  # type: ignore[arg-type]
    assert registry.tags["4"]["rolled_back"] == "true"
    assert given(registry, "4", "1", True) == ("champion", ()) and registry.tags["4"]["rolled_back"] == "false"


@pytest.mark.parametrize("when", [1, 2])
def test_the_promotion_that_lost_to_another_machine_says_so_and_stays_challenger(when: int) -> None:
    registry = Registry({"champion": "1"}, meddle={when: "5"})
    alias, (reason,) = given(registry, "2", "1", True)
    assert alias == "challenger" and registry.pointed == {"champion": "5", "challenger": "2"}
    seen = {1: "version 1", 2: "version 2"}[when]
    assert reason.startswith(f"another promotion moved champion from {seen} to version 5 meanwhile")


def test_promoted_compared_counted_and_rolled_back_on_a_real_registry(
    paths: StudyPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    add_trial(paths, 0, nll=1.0)
    first = promote(paths)
    assert first.decided_by.startswith("decided by 10 sentences, a split drawn for decisions alone; they have")
    add_trial(paths, 1, nll=0.5, source="other")
    outcomes = [promote(paths), promote(paths)]
    assert [outcome.alias for outcome in outcomes] == ["champion", "champion"]
    assert [outcome.effect is None for outcome in outcomes] == [False, True], "it holds the alias the second time"
    assert "they have decided 1 time about t5vqvae" in outcomes[-1].decided_by
    registry = Tracker(f"sqlite:///{paths.state}/mlflow.db", "tiny").registry("t5vqvae")
    tags = registry.versions()["2"].tags
    assert (tags["champion_before"], tags["gate.against"]) == ("1", "1")
    assert float(tags["gate.low"]) > 0
    client = registry.destination.client
    cards = [client.get_model_version("t5vqvae", number).description for number in ("1", "2")]
    assert ["**Decided by** 10 sentences" in card for card in cards] == [False, True], "the first met no champion"
    assert [f'load_model("models:/t5vqvae/{place}")' in card for place, card in enumerate(cards, 1)] == [True, True]
    assert not [tag for version in registry.versions().values() for tag in version.tags.values() if tag[:1] in "{["]
    assert main(["rollback", "--state", str(paths.state)]) == 0
    assert "version 1 of t5vqvae is champion again; version 2 was" in capsys.readouterr().out
    assert registry.by_alias("champion").version == "1"
    again = promote(paths)
    assert (again.alias, again.reasons[0]) == ("challenger", REFUSED), "a rollback is not undone in passing"
    assert promote(paths, wishes=Wishes(anyway=True)).alias == "champion"
    assert registry.versions()["2"].tags["rolled_back"] == "false" and promote(paths).passed


def test_the_version_has_a_card_with_data_licence_seeds_scores_and_limits(paths: StudyPaths) -> None:
    labels = {"label/names_tokens": "names tokens: a reason", "label/augmented": "rename 30 of 90 rows were added"}
    record = add_trial(paths, 0, tags={**labels, "signature/x": "y"})
    outcome = promote(paths, wishes=Wishes(anyway=True))
    client = Tracker(f"sqlite:///{paths.state}/mlflow.db", "tiny").destination.client
    card = client.get_model_version("t5vqvae", "1").description
    for part in (
        "Data.",
        "Spec.",
        "Seeds.",
        "Quality",
        "Rate",
        "Control",
        "Out of distribution",
        "Limits.",
        "Load it.",
    ):
        assert f"**{part}" in card, part
    assert "**Labels.** names tokens: a reason; augmented: rename 30 of 90 rows were added.\n" in card
    entropy = f"{outcome.test_metrics['test/rate/token_entropy_bits']:.4g}"
    assert f"| entropy of the tokens, bits a token | {entropy} | bits a token |" in card
    assert "licence: Apache-2.0" in card and "the best on validation of 1 trials that had ended" in card
    assert f"| {outcome.test_metrics['test/nll']:.4g} | nats a token |" in card
    assert f"| VAR | {outcome.test_metrics['VAR/exact_match']:.4g} |" in card
    run = client.get_model_version("t5vqvae", "1").run_id
    (folder,) = client.list_artifacts(run, "test")
    assert {Path(file.path).name for file in client.list_artifacts(run, folder.path)} == {
        "metrics.json",
        "sentences.parquet",
    }
    assert record.number == 0
