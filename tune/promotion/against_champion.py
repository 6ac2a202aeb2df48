"""Compares a new version with the champion on the sentences that decide, and counts how often these have decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from t5vqvae.data.gate_split import WORDS, GateData
from t5vqvae.errors import UserError
from t5vqvae.evaluation.gate_scores import GateScores
from tune.promotion.champion import ROLLED_BACK, same
from tune.promotion.deciding import Decision, decide
from tune.promotion.gate_results import GateResults
from tune.promotion.registration import DATA, STRINGS
from tune.promotion.sentence_scores import artifact_digest
from tune.records.models import FoundModel, downloaded_model
from tune.spec.promotion_rules import PromotionRules
from tune.spec.search_spec import SearchSpec

if TYPE_CHECKING:
    from t5vqvae.tracking.server.model_registry import Registry, Version

SPLIT, AGAINST = "gate.split", "gate.against"
"""The tags of a version with the sentences that decided about it, and the version that it was compared with."""


@dataclass(frozen=True)
class Compared:
    """A version and the sentences that decide about it.

    Attributes:
        registry: The registered model.
        spec: The study, with its rules.
        model: The version's model.
        version: The version.
        results: What measures models on these sentences.
        gate: These sentences.
        strings: Hash of the raw strings of the version's test split.
        state: The state folder.
    """

    registry: Registry
    spec: SearchSpec
    model: FoundModel
    version: Version
    results: GateResults
    gate: GateData
    strings: str | None
    state: Path

    def with_champion(self, champion: Version | None, mine: GateScores, rules: PromotionRules) -> Decision:
        """Decides whether the version may take the champion's place; tags it with what was found."""
        number = self.version.version
        if not same(champion, self.version) and self.version.tags.get(ROLLED_BACK) == "true":
            return Decision(False, (f"version {number} was rolled back; --promote takes the alias anyway",))
        if champion is None:
            return Decision(True, ("no version held the alias",))
        if same(champion, self.version):
            return Decision(True, (f"version {number} holds the alias already",))
        same_tokens = champion.tags.get(DATA) == self.version.tags.get(DATA)
        if not same_tokens and (self.strings is None or champion.tags.get(STRINGS) != self.strings):
            reason = f"version {champion.version} was tested on other data, so the two cannot be compared"
            return Decision(False, (reason,))
        objective = self.spec.objectives[0]
        try:
            theirs = downloaded_model(self.registry, champion, self.state)
            scores, costs = self.results.of(theirs), self.results.costs(self.model, theirs, rules)
        except UserError as error:
            return Decision(False, (f"no comparison with version {champion.version}: {error}",))
        decision = decide(objective, rules, mine, scores, costs, same_tokens=same_tokens)
        if not decision.claims:
            return decision
        self.registry.tag(number, self._tags(decision, champion))
        return replace(decision, reasons=(*decision.reasons, self._sides(champion, theirs)))

    def _sides(self, champion: Version, theirs: FoundModel) -> str:
        """Returns which two artifacts a claim is about: another seed or checkpoint is another artifact."""
        mine, its = (artifact_digest(model.folder)[:12] for model in (self.model, theirs))
        return (
            f"compared: version {self.version.version}, artifact {mine}, and version {champion.version}, artifact {its}"
        )

    def _tags(self, decision: Decision, champion: Version) -> Mapping[str, object]:
        split = self.gate.digest[:12]
        known = self.registry.versions().get(self.version.version, self.version).tags
        if (known.get(SPLIT), known.get(AGAINST)) != (split, champion.version):
            self.registry.tag_model({_counter(split): self.decided() + 1})
        tags: dict[str, object] = {SPLIT: split, AGAINST: champion.version, "gate.passed": decision.passed}
        for claim in decision.claims[:1]:
            tags |= {"gate.metric": claim.metric, "gate.advantage": f"{claim.advantage:.6g}"}
            tags |= {"gate.low": f"{claim.low:.6g}", "gate.high": f"{claim.high:.6g}"}
        return tags

    def decided(self) -> int:
        """Returns how many pairs of versions these sentences have decided between."""
        return int(self.registry.model_tags().get(_counter(self.gate.digest[:12]), "0"))

    def said(self) -> str:
        """Returns by what was decided, and how often that has been used, in a sentence."""
        gate, times = self.gate, self.decided()
        worn = "; the more often, the luckier its champion" if times > 1 else ""
        return (
            f"decided by {len(gate.splits['gate'])} sentences, {WORDS[gate.kind]};"
            f" they have decided {times} time{'' if times == 1 else 's'} about {self.registry.name}{worn}"
        )


def _counter(split: str) -> str:
    return f"decisions.{split}"
