"""Disentanglement: does every code say one factor, and is every factor in one code?

A latent is the code at the first token of a role's first word, within one template; values are averaged over templates.
Factors are the corpus's own (`CorpusConfig.factors_of`): roles and grammatical properties, those that vary within the
template. From the information I(latent; factor), less its mean over shuffled codes and at least 0:

- MIG = mean over factors of (largest I - second largest) / H(factor).
- InfoM = (mean over active latents of max_f NI / sum_f NI - 1/F) / (1 - 1/F), NI = I / H(factor): modularity.
- InfoC = (mean over factors of max_l NI / sum_l NI - 1/L) / (1 - 1/L): compactness.

A latent is active if it says at least .02 of some factor's entropy; a factor that no latent says is left out of InfoC.

Source: MIG: Chen et al. 2018, arXiv 1802.04942; InfoM, InfoC: Hsu et al. 2023, arXiv 2305.18378.

Different: published code does not subtract the shuffled value, so a code of many entries says something about
everything; kylehkhsu/latent_quantization has two definitions of an active latent, and this is neither.

Letters: N sentences, L latents, F factors.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from t5vqvae.measures.base import CodedWord, Found, Probed, Row, measure
from t5vqvae.measures.information import adjusted_share, numbered

NUM_SENTENCES = 2_000
LEAST_SENTENCES = 100
"""Of a template; below, its shuffled values are too noisy."""
LEAST_SHARE = 0.02
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
    if not probed.spec.data.corpus.has_edits:
        return Found()
    probed = replace(probed, split=probed.train, num_sentences=NUM_SENTENCES)
    values: dict[str, list[float]] = defaultdict(list)
    rows: list[Row] = []
    for template, sentences in _by_template(probed).items():
        table = _table(sentences, probed)
        if table is None:
            continue
        latents, factors, latents_NL, factors_NF = table
        shares_LF = shares(latents_NL, factors_NF, probed.seed)
        found = {"mig": mig(shares_LF), "infom": modularity(shares_LF), "infoc": compactness(shares_LF)}
        for name, value in found.items():
            values[name] += [] if value is None else [value]
        for place, latent in enumerate(latents):
            said = {factor: float(share) for factor, share in zip(factors, shares_LF[place], strict=True)}
            best = max(said, key=said.__getitem__)
            rows.append({"template": template, "code at": latent, "says most about": best, "share": said[best]})
    metrics = {f"disentanglement/{name}": sum(each) / len(each) for name, each in values.items() if each}
    return Found(metrics, {"What the code of each role says": rows})


_Sentences = dict[int, dict[str, CodedWord]]
"""The first word of every role, by sentence."""


def _by_template(probed: Probed) -> dict[str, _Sentences]:
    """Returns the sentences of every template that has enough."""
    corpus, groups = probed.spec.data.corpus, defaultdict[str, _Sentences](dict)
    templates = [(corpus.factors_of(text) or {}).get("template", "") for text in probed.texts]
    for word in probed.words:
        if word.role and templates[word.sentence]:
            groups[templates[word.sentence]].setdefault(word.sentence, {}).setdefault(word.role, word)
    return {name: found for name, found in sorted(groups.items()) if len(found) >= LEAST_SENTENCES}


def _table(sentences: _Sentences, probed: Probed) -> tuple[list[str], list[str], _Ints, _Ints] | None:
    """Returns names and values of latents and factors of a template; None if there are fewer than two of either."""
    corpus = probed.spec.data.corpus
    factors = [corpus.factors_of(probed.texts[number]) or {} for number in sentences]
    roles = sorted(set.intersection(*(set(words) for words in sentences.values())))
    names = [name for name in sorted(factors[0]) if name != "template" and _varies([each[name] for each in factors])]
    if len(roles) < 2 or len(names) < 2:
        return None
    latents_NL = np.stack([numbered([words[role].codes for words in sentences.values()]) for role in roles], 1)
    factors_NF = np.stack([numbered([each[name] for each in factors]) for name in names], 1)
    return roles, names, latents_NL, factors_NF


def _varies(items: Sequence[str]) -> bool:
    return len(set(items)) > 1
