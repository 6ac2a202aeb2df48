"""How well codes and labels agree as two groupings of the same words: purity, inverse purity and V-measure.

- Purity: share of words whose label is the most frequent one of their code. It grows with the codebook: a code that
  occurs once is pure by itself.
- Inverse purity: share of words whose code is the most frequent one of their label. It falls with the codebook: with
  one code for everything it is 1.
- Homogeneity: I / H(label), 1 if every code has one label. Completeness: I / H(code), 1 if every label has one code.
  I is the mutual information of code and label. V is their harmonic mean: 2 I / (H(label) + H(code)).

Both purities stand next to their shuffled values. Of the other three the shuffled mean is subtracted, because the
plug-in I of independent codes grows with the codebook: with 30 labels and 10,000 words V is .03 at K = 64 by chance and
.51 at K = 22,000. So their largest value is not 1, but 1 less what chance has, which stands next to V.

Source: purity: Manning, Raghavan and Schütze 2008, section 16.3; V-measure: Rosenberg and Hirschberg 2007, with beta
of 1; the formulas are those of scikit-learn's `homogeneity_completeness_v_measure`, weighted by words.

Different: the sources subtract nothing.

Letters: N words.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from t5vqvae.measures.base import Row
from t5vqvae.measures.counted import entropy_bits, information_bits, shuffled_information_bits

_Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class VMeasure:
    """Homogeneity, completeness and their harmonic mean V."""

    homogeneity: float
    completeness: float
    v: float


@dataclass(frozen=True)
class Agreement:
    """The agreement of codes and labels.

    Attributes:
        bits: Their mutual information less its mean over shuffled codes.
        purity: Purity.
        purity_shuffled: The same with shuffled codes.
        inverse_purity: Inverse purity.
        inverse_purity_shuffled: The same with shuffled codes.
        above_chance: The V-measure less its mean over shuffled codes.
        by_chance: That mean.
    """

    bits: float
    purity: float
    purity_shuffled: float
    inverse_purity: float
    inverse_purity_shuffled: float
    above_chance: VMeasure
    by_chance: VMeasure

    @property
    def metrics(self) -> dict[str, float]:
        """Its metrics, by the last part of their keys."""
        return {
            "purity": self.purity,
            "purity_shuffled": self.purity_shuffled,
            "inverse_purity": self.inverse_purity,
            "inverse_purity_shuffled": self.inverse_purity_shuffled,
            "homogeneity": self.above_chance.homogeneity,
            "homogeneity_shuffled": self.by_chance.homogeneity,
            "completeness": self.above_chance.completeness,
            "completeness_shuffled": self.by_chance.completeness,
            "v_measure": self.above_chance.v,
            "v_measure_shuffled": self.by_chance.v,
        }

    @property
    def row(self) -> Row:
        """What a table has of it next to purity."""
        return {
            "inverse purity": self.inverse_purity,
            "inverse purity, shuffled": self.inverse_purity_shuffled,
            "homogeneity above chance": self.above_chance.homogeneity,
            "homogeneity, shuffled": self.by_chance.homogeneity,
            "completeness above chance": self.above_chance.completeness,
            "completeness, shuffled": self.by_chance.completeness,
            "V above chance": self.above_chance.v,
            "V, shuffled": self.by_chance.v,
        }


def agreement(codes_N: _Ints, words_N: _Ints, shuffled_N: _Ints, seed: int) -> Agreement:
    """Returns how codes and words agree.

    Args:
        codes_N: The code of every word, as a number.
        words_N: The words, or their labels, as numbers.
        shuffled_N: Shuffled codes, for the control of both purities.
        seed: Seed of the shuffles for the mutual information.
    """
    chance = shuffled_information_bits(codes_N, words_N, seed)
    bits = information_bits(codes_N, words_N) - chance
    entropies = entropy_bits(codes_N), entropy_bits(words_N)
    return Agreement(
        bits,
        purity(codes_N, words_N),
        purity(shuffled_N, words_N),
        inverse_purity(codes_N, words_N),
        inverse_purity(shuffled_N, words_N),
        v_measure(bits, *entropies),
        v_measure(chance, *entropies),
    )


def purity(codes_N: _Ints, words_N: _Ints) -> float:
    """Returns the share of words that equal the most frequent word of their code, in (0, 1]."""
    pairs, counts = np.unique(np.stack([codes_N, words_N], 1), axis=0, return_counts=True)
    most = np.zeros(int(codes_N.max()) + 1, dtype=np.int64)
    np.maximum.at(most, pairs[:, 0], counts)
    return float(most.sum() / len(codes_N))


def inverse_purity(codes_N: _Ints, words_N: _Ints) -> float:
    """Returns the share of words whose code is the most frequent code of their word, in (0, 1]."""
    return purity(words_N, codes_N)


def v_measure(bits: float, codes_bits: float, words_bits: float) -> VMeasure:
    """Returns the V-measure of codes and words.

    It is linear in the mutual information. So from the information less its mean over shuffled codes follows the
    V-measure less its own mean, because shuffling keeps both entropies.

    Args:
        bits: Their mutual information, bits, or the part of it that is above chance.
        codes_bits: Entropy of the codes.
        words_bits: Entropy of the words.

    Returns:
        0 where an entropy is 0: scikit-learn has 1 there, and so has every shuffle, which is subtracted.
    """
    return VMeasure(
        homogeneity=bits / words_bits if words_bits > 0 else 0.0,
        completeness=bits / codes_bits if codes_bits > 0 else 0.0,
        v=2 * bits / (codes_bits + words_bits) if codes_bits + words_bits > 0 else 0.0,
    )
