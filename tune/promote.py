"""Registers the best trial of a study, and makes it champion if it beats the present one.

    t5vqvae promote STUDY [--gate "test/exact_match >= 0.5"] [--guard "VAR/exact_match 0.02"] [--promote] [...]
    python -m tune.promote STUDY [...]

The validation split decides which trial is best, among completed trials with a bottleneck that keep the study's
constraints; with `promotion.candidates` and `promotion.fresh_seeds` the best are trained again with fresh seeds, which
choose (`tune/promotion/candidates.py`). The test split is evaluated once for a model, for the tables. Other sentences
decide between it and the champion, by intervals (`tune/promotion/deciding.py`); the study's section `promotion` holds
the rules. The study's constraints are read on these sentences, too: those on `validation_ood` on sets that were drawn
for it. A `--gate` reads the test set that it names, never a harder one. All rules are checked before anything is
trained or tested.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports below, which take seconds: help and refusals are quick
    import sys

    from tune.cli import main

    sys.exit(main(["promote", *sys.argv[1:]]))

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from t5vqvae.files import held
from t5vqvae.redaction import redacted
from t5vqvae.runs.tracked_run import TRAINER
from t5vqvae.stages import stage
from t5vqvae.tracking.server.model_registry import IDENTITY
from tune.promotion.against_champion import AGAINST, Compared
from tune.promotion.announcements import refuse_address
from tune.promotion.candidate import TEST_FILE, best_trial, identity_of, still_to_come, test_once, test_sets_of
from tune.promotion.candidates import Choice, candidates_of
from tune.promotion.champion import CHAMPION, Award, award, same
from tune.promotion.deciding import Decision, refuse_unmeasurable, refuse_without_comparison
from tune.promotion.gate import Gate, refusals, refuse_harder, refuse_unmeasured
from tune.promotion.gate_results import GateResults
from tune.promotion.outcome import Promotion, Wishes
from tune.promotion.registration import Tested, card_of, registered
from tune.promotion.retraining import Retraining
from tune.promotion.sentence_scores import SENTENCES_FILE
from tune.promotion.verdict import headline
from tune.records.copies import StudyCopies
from tune.records.fetching import fetch_checkpoint
from tune.records.fresh_runs import folder_of, read_fresh, said
from tune.records.models import FoundModel, kept_checkpoint
from tune.records.record import TrialRecord, read_records
from tune.records.study_paths import StudyPaths
from tune.records.study_tracker import tracker_of
from tune.spec.promotion_rules import PromotionRules
from tune.spec.search_spec import SearchSpec

if TYPE_CHECKING:
    from t5vqvae.data.gate_split import GateData
    from t5vqvae.tracking import Tracker
    from t5vqvae.tracking.server.model_registry import Version

logger = logging.getLogger(__name__)
_Event = Mapping[str, Any] | None


def promote(
    paths: StudyPaths,
    *,
    tracker: Tracker | None = None,
    registered_name: str = "t5vqvae",
    alias: str = CHAMPION,
    wishes: Wishes | None = None,
    copies: StudyCopies | None = None,
    trainer: str = TRAINER,
) -> Promotion:
    """Registers the best trial of a study; it gets the alias if it beats the version that holds it.

    Args:
        paths: The study's files.
        tracker: The study's tracker; None: the one that its spec names.
        registered_name: Name of the registered model.
        alias: Alias of the best version.
        wishes: Bounds, rules, and what follows; None: nothing further.
        copies: Where the study was fetched from; the trial's test is copied there, else to its spec's address.
        trainer: What trains candidates again; see `t5vqvae.runs.tracked_run.TRAINER`.

    Raises:
        UserError: If no trial can be promoted, a rule or a bound is on what a test does not measure, or another
            promotion of this state folder to the same name is under way.
        TrackingError: If the server cannot be reached.
    """
    folder, wishes = paths.state / "promotions", wishes or Wishes()
    lock = folder / f"{registered_name}.lock"
    with held(lock, f"a promotion to {registered_name} is under way", "wait for it; both would move its aliases"):
        spec, record = best_trial(paths)
        tracker = tracker or tracker_of(spec, paths)
        promoter = _Promoter(paths, spec, record, tracker, registered_name, alias)
        outcome, event = promoter.run(wishes, copies, trainer)
    # Without the lock: a receiver may take seconds, and a command may promote or roll back.
    lines = wishes.receivers.announce(event, folder / "outbox")
    return replace(outcome, reasons=(*outcome.reasons, *lines))


@dataclass(frozen=True)
class _Promoter:
    """One promotion, under its lock; with a choice, `record` is the run that fresh seeds chose."""

    paths: StudyPaths
    spec: SearchSpec
    record: TrialRecord
    tracker: Tracker
    name: str
    alias: str
    choice: Choice | None = None

    def run(self, wishes: Wishes, copies: StudyCopies | None, trainer: str) -> tuple[Promotion, _Event]:
        """Returns the outcome, and what is to be announced; None: the alias did not move."""
        rules = wishes.rules or self.spec.promotion
        rules.refuse_front_of_one(len(self.spec.objectives))
        for record in self._to_be_trained(rules) or [self.record]:
            replace(self, record=record)._checked(wishes, rules)
        with stage("connecting to MLflow"):
            self.tracker.check()
        if not wishes.anyway and self._must_win(rules):
            refuse_without_comparison(self.spec.objectives[0].metric)
        warning = _warned(self.paths, self.spec)
        self._send_last_entries()
        return self._chosen(rules, trainer)._finished(wishes, rules, copies, warning)

    def _to_be_trained(self, rules: PromotionRules) -> list[TrialRecord]:
        """Returns the trials that are trained again; none where the rules want none."""
        return [] if rules.fresh_seeds is None else candidates_of(read_records(self.paths.trials), self.spec, rules)

    def _chosen(self, rules: PromotionRules, trainer: str) -> _Promoter:
        """Returns the promotion of the run that fresh seeds choose; this one where the rules want none."""
        if rules.fresh_seeds is None:
            return self
        choice = Retraining(self.paths, self.spec, self.tracker, trainer).choice(rules)
        return replace(self, record=choice.record, choice=choice)

    def _finished(
        self, wishes: Wishes, rules: PromotionRules, copies: StudyCopies | None, warning: str | None
    ) -> tuple[Promotion, _Event]:
        """Tests the model, registers it, and compares it with the champion."""
        tests, gate = self._checked(wishes, rules)
        tested = self._tested(gate, copies)
        with stage("registering the model"):
            version = registered(self.tracker, self.name, tested)
            if self.choice is not None:
                self.tracker.registry(self.name).tag(version.version, self.choice.tags)
        return self._decided(wishes, rules, tests, tested, version, warning)

    def _checked(self, wishes: Wishes, rules: PromotionRules) -> tuple[list[str], GateData]:
        """Refuses bounds, rules and addresses that cannot work; returns the test sets, and what decides."""
        refuse_address(wishes.receivers.notify)
        tests = test_sets_of(self.paths, self.spec, self.record)
        run = self.spec.run_spec(self.record.overrides)
        harder = run.data.corpus.harder_names
        readable = [name for name in tests if name not in harder]
        refuse_harder(wishes.gates, harder, readable)
        refuse_unmeasured(wishes.gates, self.record.metrics, readable)
        gate = GateResults(self.paths.state, run).gate(run)
        refuse_unmeasurable(rules, run.evaluate, [name for name in gate.splits if name != "gate"])
        return tests, gate

    def _must_win(self, rules: PromotionRules) -> bool:
        """Returns whether another version holds the alias, so that the model needs a comparison."""
        registry = self.tracker.registry(self.name)
        champion = registry.by_alias(self.alias)
        if champion is None:
            return False
        own = {identity_of(run) for run in ([self.record] if rules.fresh_seeds is None else read_fresh(self.paths))}
        identity = champion.tags.get(IDENTITY, "")
        return identity not in own or not same(champion, registry.find(identity))

    def _send_last_entries(self) -> None:
        with stage("sending the study's last entries to MLflow"):
            for folder in (self.paths.root, self.paths.trials, self.paths.fresh):
                self.tracker.replay(folder)

    def _tested(self, gate: GateData, copies: StudyCopies | None) -> Tested:
        """Tests the model once; copies a trial's test to the study's address, if it has one."""
        paths, spec, record = self.paths, self.spec, self.record
        if copies is not None and self.choice is None:
            fetch_checkpoint(copies, record)
        weights = kept_checkpoint(paths, record)
        result = test_once(paths, spec, record, weights)
        copies = copies or StudyCopies.of(spec, paths)
        if copies is not None and self.choice is None:  # what fresh seeds trained is not copied, nor is its test
            files = (folder_of(paths, record) / name for name in (TEST_FILE, SENTENCES_FILE))
            copies.add(file for file in files if file.is_file())
        return Tested(paths, spec, record, result, weights, gate, self.choice)

    def _decided(
        self,
        wishes: Wishes,
        rules: PromotionRules,
        tests: Sequence[str],
        tested: Tested,
        version: Version,
        warning: str | None,
    ) -> tuple[Promotion, _Event]:
        """Compares the version with the champion, and moves the aliases."""
        spec, record, result, registry = self.spec, self.record, tested.result, self.tracker.registry(self.name)
        run = spec.run_spec(record.overrides)
        model = FoundModel(tested.folder / "model", run, said(record))
        results = GateResults(self.paths.state, run)
        mine, champion = results.of(model), registry.by_alias(self.alias)
        compared = Compared(registry, spec, model, version, results, tested.gate, result.test_strings, self.paths.state)
        metrics = {**record.metrics, **result.metrics, **mine.metrics}
        failed = refusals([*map(Gate.of_constraint, spec.constraints), *wishes.gates], metrics)
        decision = compared.with_champion(champion, mine, rules)
        uri, number = f"models:/{self.name}", version.version
        known = registry.versions().get(number, version)
        registry.describe(number, card_of(tested, f"{uri}/{number}", compared=AGAINST in known.tags))
        given = award(registry, self.alias, version, champion, not failed and (decision.passed or wishes.anyway))
        outcome = Promotion(
            run_id=result.identity,
            alias=given.alias,
            effect=decision.claims[0].advantage if decision.claims else None,
            test_metrics=result.metrics,
            passed=not failed and given.alias == self.alias,
            reasons=(*failed, *decision.reasons, *given.reasons),
            decided_by=compared.said(),
            version=number,
            model_uri=f"{uri}@{given.alias}",
            headline=tuple(headline(spec, metrics, tests, wishes.gates)),
            warning=warning,
            details=self.tracker.url(version.mlflow_id) or str(folder_of(self.paths, record) / TEST_FILE),
            chosen=() if self.choice is None else self.choice.lines,
            tracking_uri=redacted(self.tracker.uri),
        )
        return outcome, self._event(given, version, champion, decision)

    def _event(self, given: Award, version: Version, champion: Version | None, decision: Decision) -> _Event:
        """Returns what is announced of an alias that moved."""
        before = None if champion is None else champion.version
        if given.alias != self.alias or before == version.version:
            return None
        return {
            "event": "promoted",
            "model": self.name,
            "alias": self.alias,
            "version": version.version,
            "before": before,
            "study": self.paths.study,
            "reasons": list(decision.reasons),
        }


def _warned(paths: StudyPaths, spec: SearchSpec) -> str | None:
    """Warns of trials that are still to come, and returns the warning."""
    warning = still_to_come(paths, spec)
    if warning is not None:
        logger.warning(warning)
    return warning
