"""Seeds the sampler anew for each trial, from the study's seed and the trial's number alone.

Optuna's samplers draw from one stream. A restarted search with the same seed would repeat its first suggestions; with
another seed it would differ from the search that was killed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from tune.sampling.subset import TrialSubset
from tune.spec.search_spec import SearchSpec


class SeededByNumber(BaseSampler):
    """Builds the study's sampler for each trial, and delegates to it.

    The sampler reads a long study through a `TrialSubset`, as the study was when the trial started.

    Args:
        spec: The study.
        storage: Optuna's storage of the study.
    """

    def __init__(self, spec: SearchSpec, storage: BaseStorage) -> None:
        self.spec = spec
        self.subset = TrialSubset(storage, spec.sampler.reads)
        self.inner = spec.sampler.build(seed_of(spec.seed, 0), spec.space)
        self._seen: Study | None = None

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._seen = self.subset.view(study)
        self.inner = self.spec.sampler.build(seed_of(self.spec.seed, trial.number), self.spec.space)
        self.inner.before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self.inner.infer_relative_search_space(self._seen or study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self.inner.sample_relative(self._seen or study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self.inner.sample_independent(self._seen or study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        self.inner.after_trial(study, trial, state, values)


def seed_of(seed: int, number: int) -> int:
    """Returns the seed of a trial's sampler, in [0, 2**32): a hash of the study's seed and the trial's number."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{number}".encode()).digest()[:4], "big")
