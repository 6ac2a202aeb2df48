"""Paths from one sentence to another: linear in the states, or a walk through the codebook.

- Linear: h_t = (1 - t) h_s + t h_g at even steps t from 0 to 1, quantized at every step (where there are codes) and
  decoded.
- Walk: k_t = argmin_k (1 - t) d(z_{t-1}, e_k) + t d(g, e_k), d the squared distance and z_{t-1} the code vector of the
  step before; with several codebooks, one code after another given the position's other codes.

A path begins at the source's reconstruction and ends at the goal's. Lengths: see `alignment.py`; between two lengths
the number of positions changes evenly. Prompts stay the source's, so that with prompts the goal's end keeps them.

Source: T5VQVAE, arXiv 2402.00723 (SnowYJ/T5VQVAE).

Letters: T positions of a sentence, S positions of the longer of two, Q codes a position, C code width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from t5vqvae.errors import SettingError
from t5vqvae.latent.alignment import aligned, length_at, shortened
from t5vqvae.latent.code_vectors import distances, vectors
from t5vqvae.latent.latent_space import LatentSpace
from t5vqvae.latent.sentence import Sentence
from t5vqvae.quantizers import Quantizer

STEPS = 11
"""Steps of a path, both ends included."""


@dataclass(frozen=True)
class Step:
    """One step of a path.

    Attributes:
        t: From 0, the source, to 1, the goal.
        latent_TX: Its codes (T, Q), or vectors (T, E) where the model has no codes.
        text: The decoded text.
    """

    t: float
    latent_TX: Tensor
    text: str


@dataclass(frozen=True)
class Trajectory:
    """The path between two sentences."""

    source: Sentence
    goal: Sentence
    steps: tuple[Step, ...]

    @property
    def changes_length(self) -> bool:
        """Whether source and goal differ in their number of tokens, also where a sentence has one latent."""
        return len(self.source.spans) != len(self.goal.spans)


def interpolate(
    space: LatentSpace, pairs: Sequence[tuple[str, str]], num_steps: int = STEPS, walk: bool = False
) -> list[Trajectory]:
    """Returns the path of every pair of sentences.

    Args:
        space: The model.
        pairs: Source and goal.
        num_steps: Steps of a path, both ends included.
        walk: Walk through the codebook instead of moving in a straight line.

    Raises:
        SettingError: If there are fewer than two steps.
        DataError: If a walk is wanted of a model without codes, or a text is empty.
    """
    if num_steps < 2:
        raise SettingError(f"steps={num_steps} must be at least 2: both ends belong to a path")
    if walk:
        space.require_codes("a codebook walk")
    encoded = space.encode([text for pair in pairs for text in pair])
    ends = list(zip(encoded[::2], encoded[1::2], strict=True))
    times = [number / (num_steps - 1) for number in range(num_steps)]
    prompts = [source.prompt_codes_PQ for source, _ in ends for _ in times]
    if walk:
        latents = [codes for source, goal in ends for codes in _walk(space.model.quantizer, source, goal, times)]
        texts = space.decode(latents, prompts)
    else:
        roles = [_roles_at(*pair, t) for pair in ends for t in times]
        latents, texts = space.decode_states([_mixed(*pair, t) for pair in ends for t in times], prompts, roles)
    steps = [Step(*step) for step in zip(times * len(ends), latents, texts, strict=True)]
    return [
        Trajectory(source, goal, tuple(steps[number * num_steps : (number + 1) * num_steps]))
        for number, (source, goal) in enumerate(ends)
    ]


def share_changing_length(paths: Sequence[Trajectory]) -> float:
    """Returns the share of paths whose ends differ in length; 0 without a path."""
    return sum(path.changes_length for path in paths) / max(1, len(paths))


def _mixed(source: Sentence, goal: Sentence, t: float) -> Tensor:
    """Returns the states of one step of a straight path."""
    source_SE, goal_SE = aligned(source.states_TE, goal.states_TE)
    length = length_at(len(source.states_TE), len(goal.states_TE), t)
    return shortened((1 - t) * source_SE + t * goal_SE, length)


def _roles_at(source: Sentence, goal: Sentence, t: float) -> Tensor | None:
    """Returns the roles of one step of a straight path: those of the nearer end; None where no role is read."""
    if source.roles_T is None or goal.roles_T is None:
        return None
    source_S, goal_S = aligned(source.roles_T, goal.roles_T)
    return shortened(source_S if t < 0.5 else goal_S, length_at(len(source.roles_T), len(goal.roles_T), t))


def _walk(quantizer: Quantizer, source: Sentence, goal: Sentence, times: Sequence[float]) -> list[Tensor]:
    """Returns the codes of every step of a walk."""
    assert source.codes_TQ is not None and goal.codes_TQ is not None
    here_SQ, goal_SQ = aligned(source.codes_TQ, goal.codes_TQ)
    lengths = [length_at(len(source.codes_TQ), len(goal.codes_TQ), t) for t in times]
    walked = [here_SQ]  # at 0 the argmin is the source's code, at 1 the goal's, also where rounding errs
    for t in times[1:-1]:
        here_SQ = _next(quantizer, here_SQ, goal_SQ, t)
        walked.append(here_SQ)
    return [shortened(codes_SQ, length) for codes_SQ, length in zip([*walked, goal_SQ], lengths, strict=True)]


def _next(quantizer: Quantizer, here_SQ: Tensor, goal_SQ: Tensor, t: float) -> Tensor:
    """Returns the codes of the next step of a walk."""
    before_SC, goal_SC = vectors(quantizer, here_SQ), vectors(quantizer, goal_SQ)
    codes_SQ = here_SQ.clone()
    for codebook in range(quantizer.num_codebooks):
        from_before_SK = distances(quantizer, before_SC, codes_SQ, codebook)
        to_goal_SK = distances(quantizer, goal_SC, codes_SQ, codebook)
        codes_SQ[:, codebook] = torch.argmin((1 - t) * from_before_SK + t * to_goal_SK, dim=-1)
    return codes_SQ
