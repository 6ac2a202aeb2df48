"""Disentanglement: does every code say one factor, and is every factor in one code?

Latents and factors are those of `slots.py`, within one template; values are averaged over templates. A number of a
vector is cut into 20 bins of equal width; whole vectors a token have no such information, so no value here.
From the share NI of a factor that a latent says, (I - chance) / (H(factor) - chance), where chance is the mean over
shuffled codes and what a shuffle could show counts as 0 (`counted.adjusted_share`):

- MIG = mean over factors of (largest NI - second largest).
- InfoM = (mean over active latents of max_f NI / sum_f NI - 1/F) / (1 - 1/F): modularity.
- InfoC = (mean over factors of max_l NI / sum_l NI - 1/L) / (1 - 1/L): compactness.

A latent is active if it says at least .02 of some factor; a factor that no latent says is left out of InfoC. Where no
latent is active, InfoM and InfoC are not defined. A factor's entropy stands next to its scores.

Source: MIG: Chen et al. 2018, arXiv 1802.04942; InfoM, InfoC: Hsu et al. 2023, arXiv 2305.18378.

Different: NI is I / H(factor) there, and published code does not subtract the shuffled value, so a code of many entries
says something about everything. Subtracted from numerator alone, a code that names a factor of 30 values in 220
sentences would have .56 and not 1. kylehkhsu/latent_quantization has two definitions of an active latent, and this is
neither.

Letters: N sentences, L latents, F factors.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import numpy.typing as npt

from t5vqvae.measures.base import Found, Probed, Row, measure
from t5vqvae.measures.counted import LEAST_SHARE, adjusted_share, entropy_bits

_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]


def shares(latents_NL: _Ints, factors_NF: _Ints, seed: int = 0) -> _Floats:
    """Returns what share of each factor each latent says, shape (L, F), each in [0, 1]; see `adjusted_share`."""
    found_LF = [[adjusted_share(latent_N, factor_N, seed) for factor_N in factors_NF.T] for latent_N in latents_NL.T]
    return np.clip(np.array(found_LF), 0.0, 1.0)


def mig(shares_LF: _Floats) -> float:
    """Returns the mutual information gap, in [0, 1]; needs two latents."""
    ordered_LF = np.sort(shares_LF, axis=0)
    return float((ordered_LF[-1] - ordered_LF[-2]).mean())


def modularity(shares_LF: _Floats) -> float | None:
    """Returns InfoM, in [0, 1]; None without an active latent or with one factor."""
    return _concentration(shares_LF)


def compactness(shares_LF: _Floats) -> float | None:
    """Returns InfoC, in [0, 1]; None if no latent says a factor, or with one latent."""
    return _concentration(shares_LF.T)


def _concentration(shares_AB: _Floats) -> float | None:
    """Returns how much of each row lies in one of its columns, rescaled so that an even row has 0."""
    active_AB = shares_AB[shares_AB.max(1) >= LEAST_SHARE]
    columns = shares_AB.shape[1]
    if not len(active_AB) or columns < 2:
        return None
    ratio = float((active_AB.max(1) / active_AB.sum(1)).mean())
    return (ratio - 1 / columns) / (1 - 1 / columns)


@measure("disentanglement")
def disentanglement(probed: Probed) -> Found:
    """Measures whether codes and factors correspond one to one."""
    values: dict[str, list[float]] = defaultdict(list)
    rows: list[Row] = []
    for slots in probed.counted_slots:
        numbers_NL = slots.numbers_NL
        if numbers_NL is None:
            return Found()
        shares_LF = shares(numbers_NL, slots.factors_NF, probed.seed)
        found = {"mig": mig(shares_LF), "infom": modularity(shares_LF), "infoc": compactness(shares_LF)}
        for name, value in found.items():
            values[name] += [] if value is None else [value]
        entropies = {name: entropy_bits(each) for name, each in zip(slots.factors, slots.factors_NF.T, strict=True)}
        for place, latent in enumerate(slots.latents):
            said = {factor: float(share) for factor, share in zip(slots.factors, shares_LF[place], strict=True)}
            best = max(said, key=said.__getitem__)
            rows.append({"template": slots.template, "code at": latent, "says most about": best, "share": said[best],
                         "bits of it": entropies[best]})  # fmt: skip
    metrics = {f"disentanglement/{name}": sum(each) / len(each) for name, each in values.items() if each}
    return Found(metrics, {"What the code of each role says": rows})
