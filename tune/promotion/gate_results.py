"""The scores by which versions are compared: measured once for each model and each set of sentences, and kept."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from t5vqvae.data.gate_split import GateData
from t5vqvae.errors import DamagedFileError
from t5vqvae.evaluation.gate_scores import GateScores
from t5vqvae.files import digest, read_mapping, write_json
from t5vqvae.stages import stage
from t5vqvae.training.threads import free_threads, use_threads
from tune.promotion.deciding import Ratio
from tune.promotion.sentence_scores import artifact_digest
from tune.records.loading import loaded_model
from tune.records.models import FoundModel
from tune.spec.promotion_rules import PromotionRules

if TYPE_CHECKING:
    from t5vqvae.data.role_reader import RoleReader
    from t5vqvae.spec.run import RunSpec


SCORES_VERSION = 3
"""Raise it with every change of what scores hold: those that an earlier version kept are then measured anew."""


@dataclass(frozen=True)
class GateResults:
    """Measures models on the sentences that decide, all by the settings of one run.

    Attributes:
        state: The state folder, where scores are kept.
        run: The run that may be promoted: its `evaluate` and its seed say how both sides are measured.
    """

    state: Path
    run: RunSpec

    def gate(self, spec: RunSpec) -> GateData:
        """Returns the sentences that decide about a run, cut into its own tokens."""
        from t5vqvae.data.gate_split import prepare_gate

        with stage("preparing what decides"):
            return prepare_gate(spec.data, self.state / "cache", spec.model.backbone)

    def of(self, found: FoundModel) -> GateScores:
        """Returns a model's scores, from an earlier promotion or measured now.

        Raises:
            UserError: If the model cannot be loaded, or its data cannot be prepared.
        """
        gate, settings = self.gate(found.spec), self.run.evaluate.as_dict()
        key = digest(SCORES_VERSION, artifact_digest(found.folder), gate.digest, settings, self.run.seed)
        file = self.state / "promotions" / "scores" / f"{key[:24]}.json"
        known = _known(file)
        if known is not None:
            return known
        from t5vqvae.evaluation.gate_scores import score_gate

        use_threads(free_threads())
        scores = score_gate(loaded_model(found.folder), self.measured_as(found.spec), self.state / "cache", gate)
        write_json(file, asdict(scores))
        return scores

    def measured_as(self, spec: RunSpec) -> RunSpec:
        """Returns another model's run, measured as this one; its codes are all sent if it was trained so."""
        changes = {f"evaluate.{name}": value for name, value in self.run.evaluate.as_dict().items()}
        if not spec.train.code_dropout:
            del changes["evaluate.unsent"]
        return spec.with_overrides({**changes, "seed": self.run.seed})

    def costs(self, mine: FoundModel, theirs: FoundModel, rules: PromotionRules) -> list[Ratio]:
        """Returns the costs that the rules bound, over the champion's; the latency is measured in turns."""
        found = []
        if rules.max_size is not None:
            ratio = _size(mine.folder) / _size(theirs.folder)
            found.append(Ratio("size", ratio, ratio, ratio))
        if rules.max_latency is not None:
            from t5vqvae.evaluation.latency import SENTENCES, latency_ratio
            from t5vqvae.latent.two_texts import as_trained

            split = self.gate(self.run).splits["gate"]
            texts = split.sources(range(min(SENTENCES, len(split))))
            given = as_trained(texts, self.run.data.corpus.gives_pairs)
            sides = loaded_model(mine.folder), loaded_model(theirs.folder)
            roles = _roles_of(mine), _roles_of(theirs)
            with stage("timing both models in turns"):
                found.append(Ratio("latency", *latency_ratio(*sides, given, mine.spec.max_new_tokens, roles=roles)))
        return found


def _roles_of(found: FoundModel) -> RoleReader | None:
    from t5vqvae.data.role_reader import stored_reader

    return stored_reader(found.folder, found.spec.data.corpus)


def _known(file: Path) -> GateScores | None:
    try:
        values = read_mapping(file, "measured again")
        units = {key: (list(pair[0]), list(pair[1])) for key, pair in values["units"].items()}
        return GateScores(units, values["names"], values["metrics"], values["decoded"], values["references"])
    except FileNotFoundError:
        return None
    except (DamagedFileError, KeyError, TypeError, IndexError, AttributeError):
        print(f"{file} is damaged: it holds no scores; measured again", file=sys.stderr)
        return None


def _size(model: Path) -> int:
    return sum(file.stat().st_size for file in model.rglob("*") if file.is_file())
