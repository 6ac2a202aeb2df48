"""A small causal Transformer over code sequences: a prior with a longer memory than the chain of `sampling.py`.

The codes of a sentence are one sequence, position by position and codebook by codebook, between a start and an end. A
place allows the codes of one codebook alone; the first codebook's places after the first allow the end, too, and
the place behind the longest training sentence allows nothing else. So every draw is a sentence.

Letters: B batch, L places of a sequence (T positions times Q codes, and the end), V symbols (all codes of all
codebooks, the end, the start), E width, T positions of a sentence, Q codes a position.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from t5vqvae.latent.code_vectors import sizes_so_far
from t5vqvae.latent.latent_space import LatentSpace
from t5vqvae.latent.sampling import Sample, counted_codes, decoded
from t5vqvae.latent.sentence import Sentence
from t5vqvae.stages import stage

WIDTH, HEADS, LAYERS = 64, 4, 2
STEPS, BATCH, LEARNING_RATE = 300, 64, 3e-3  # more steps learn a few thousand sentences by heart
_IGNORED = -100


class TransformerPrior(nn.Module):
    """The prior; build it with `fit`.

    Attributes:
        longest: The largest number of positions that it can draw.
    """

    allowed_LV: Tensor

    def __init__(self, code_sizes: Sequence[int], longest: int, width: int = WIDTH) -> None:
        super().__init__()
        self.code_sizes, self.longest = tuple(code_sizes), longest
        self.firsts = [sum(code_sizes[:codebook]) for codebook in range(len(code_sizes))]
        self.end, self.start = sum(code_sizes), sum(code_sizes) + 1
        places = longest * len(code_sizes) + 1
        self.embedding = nn.Embedding(self.start + 1, width)
        self.places_LE = nn.Parameter(torch.randn(places, width) * 0.02)
        layer = nn.TransformerEncoderLayer(width, HEADS, 4 * width, dropout=0.0, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, LAYERS, nn.LayerNorm(width), enable_nested_tensor=False)
        self.output = nn.Linear(width, self.end + 1)
        self.register_buffer("allowed_LV", self._allowed(places))

    @classmethod
    def fit(
        cls,
        sentences: Sequence[npt.NDArray[np.integer]],
        code_sizes: Sequence[int],
        steps: int = STEPS,
        seed: int = 0,
    ) -> TransformerPrior:
        """Returns a prior trained on sentences, each of shape (its positions, Q)."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            prior = cls(code_sizes, max(map(len, sentences)))
            sequences = [prior._sequence(sentence) for sentence in sentences]
            optimizer = torch.optim.AdamW(prior.parameters(), LEARNING_RATE)
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, steps)
            with stage("training the prior", steps, "steps") as now:
                for _ in range(steps):
                    rows = torch.randint(len(sequences), (min(BATCH, len(sequences)),)).tolist()
                    nats_BL = prior._nats([sequences[row] for row in rows])
                    optimizer.zero_grad()
                    (nats_BL.sum() / nats_BL.count_nonzero().clamp_min(1)).backward()
                    optimizer.step()
                    schedule.step()
                    now.advance(1)
        return prior.eval()

    @torch.no_grad()
    def bits(self, sentences: Sequence[npt.NDArray[np.integer]]) -> list[float]:
        """Returns the bits of each sentence, its end included."""
        return [float(self._nats([self._sequence(each)]).sum()) / math.log(2) for each in sentences]

    @torch.no_grad()
    def sample(self, number: int, seed: int = 0) -> list[Sample]:
        """Returns drawn sentences, each of at most `longest` positions."""
        generator = torch.Generator().manual_seed(seed)
        ids_BL = torch.full((number, 1), self.start)
        nats_B, ended_B = torch.zeros(number), torch.zeros(number, dtype=torch.bool)
        for _ in range(len(self.places_LE)):
            logs_BV = self._logs(ids_BL)[:, -1]
            drawn_B1 = torch.multinomial(logs_BV.exp(), 1, generator=generator).masked_fill(ended_B[:, None], self.end)
            nats_B -= logs_BV.gather(-1, drawn_B1)[:, 0].masked_fill(ended_B, 0.0)
            ids_BL, ended_B = torch.cat([ids_BL, drawn_B1], -1), ended_B | (drawn_B1[:, 0] == self.end)
            if bool(ended_B.all()):
                break
        bits = (nats_B / math.log(2)).tolist()
        return [self._read(row[1:], each) for row, each in zip(ids_BL.tolist(), bits, strict=True)]

    def _read(self, ids: list[int], bits: float) -> Sample:
        """Returns a drawn sequence as codes."""
        width = len(self.code_sizes)
        own = [code - self.firsts[place % width] for place, code in enumerate(ids[: ids.index(self.end)])]
        return Sample(tuple(tuple(own[start : start + width]) for start in range(0, len(own), width)), True, bits)

    def _sequence(self, codes_TQ: npt.NDArray[np.integer]) -> Tensor:
        ids_TQ = torch.from_numpy(np.asarray(codes_TQ, dtype=np.int64)) + torch.tensor(self.firsts)
        return torch.cat([ids_TQ.flatten(), torch.tensor([self.end])])

    def _nats(self, sequences: Sequence[Tensor]) -> Tensor:
        """Returns the nats of every place, shape (B, L), 0 at padding."""
        targets_BL = pad_sequence(list(sequences), batch_first=True, padding_value=_IGNORED)
        inputs_BL = torch.cat([torch.full_like(targets_BL[:, :1], self.start), targets_BL[:, :-1]], -1)
        logs_BLV = self._logs(inputs_BL.masked_fill(inputs_BL == _IGNORED, self.end))
        return F.nll_loss(
            logs_BLV.flatten(0, 1), targets_BL.flatten(), ignore_index=_IGNORED, reduction="none"
        ).view_as(targets_BL)

    def _logs(self, ids_BL: Tensor) -> Tensor:
        """Returns the log probabilities of the symbol after each place, shape (B, L, V)."""
        length = ids_BL.shape[1]
        future_LL = torch.ones(length, length, dtype=torch.bool).triu(1)
        states_BLE = self.layers(self.embedding(ids_BL) + self.places_LE[:length], mask=future_LL)
        logits_BLV = self.output(states_BLE).masked_fill(~self.allowed_LV[:length], -torch.inf)
        return logits_BLV.log_softmax(-1)

    def _allowed(self, places: int) -> Tensor:
        """Returns which symbols may stand at each place."""
        allowed_LV = torch.zeros(places, self.end + 1, dtype=torch.bool)
        for place in range(places):
            codebook = place % len(self.code_sizes)
            first = self.firsts[codebook]
            allowed_LV[place, first : first + self.code_sizes[codebook]] = True
            allowed_LV[place, self.end] = codebook == 0 and place > 0
        allowed_LV[-1, : self.end] = False
        return allowed_LV


def draw_from_transformer(
    space: LatentSpace, counted: Sequence[Sentence], number: int, seed: int = 0
) -> list[tuple[Sample, str]]:
    """Trains the prior and returns drawn codes with the texts that they decode to; see `sampling.draw`."""
    prior = TransformerPrior.fit(counted_codes(space, counted), sizes_so_far(space.model.quantizer), seed=seed)
    return decoded(space, counted, prior.sample(number, seed), seed)
