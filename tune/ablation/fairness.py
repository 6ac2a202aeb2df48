"""Refuses arms that cannot be compared with the baseline: other text, another budget, another way of judging.

To add a rule, write it here, with the setting and the way out in its message. `AblationSpec.check` applies all rules to
every arm.
"""

from __future__ import annotations

from t5vqvae.errors import SettingError
from t5vqvae.spec.run import RunSpec
from tune.ablation.designs import Arm
from tune.spec.objective import PER_TOKEN, Objective, retokenizes


def refuse_unfair(arm: Arm, base: RunSpec, objective: Objective) -> None:
    """Refuses an arm that is trained or judged by rules that the baseline does not have.

    Raises:
        SettingError: With the setting and the way out.
    """
    spec = base.with_overrides(arm.overrides)
    place = f"arm {arm.name!r}"
    for path in arm.overrides:
        if path == "seed" or path.startswith("evaluate."):
            raise SettingError(f"{place}: {path} must be the same in every arm; set it in the baseline")
    sentences = [s.train.max_steps * s.train.batch_size for s in (base, spec)]
    lengths = [(s.data.max_length, s.data.max_target_length) for s in (base, spec)]
    if sentences[0] != sentences[1] or lengths[0] != lengths[1]:
        raise SettingError(
            f"{place}: trains on {sentences[1]} sentences of length {lengths[1][0]}, the baseline on {sentences[0]} of"
            f" {lengths[0][0]}; give every arm the same budget (train.max_steps x train.batch_size)"
        )
    changed = _changed(base, spec)
    _refuse_other_text(place, changed)
    if objective.metric in PER_TOKEN and any(retokenizes(path) for path in changed):
        instead = PER_TOKEN[objective.metric]
        raise SettingError(f"{place}: {objective.metric} depends on the tokenizer, which it changes; take {instead}")
    if objective.metric.startswith("codebook/") and "quantizer.codebook_size" in changed:
        raise SettingError(f"{place}: {objective.metric} depends on the codebook's size; take a validation/ metric")


def _changed(base: RunSpec, spec: RunSpec) -> set[str]:
    old, new = base.as_flat_dict(), spec.as_flat_dict()
    return {path for path in old.keys() | new.keys() if path not in old or path not in new or old[path] != new[path]}


def _refuse_other_text(place: str, changed: set[str]) -> None:
    """Refuses an arm that is judged on other sentences; the number of training sentences may differ."""
    for path in sorted(changed):
        if path.startswith("data.corpus.") and path != "data.corpus.size":
            raise SettingError(f"{place}: {path} changes what runs are judged on; ask that in another study")
