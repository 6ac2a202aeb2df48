"""A masked token autoencoder: the smallest task on which a bottleneck shows whether it learns.

Tokens of a Zipf vocabulary (V = 1000, p ~ 1 / rank) in sentences of random length, so that batches are padded. Each
token is embedded, mapped, quantized and decoded on its own; the score is how many unpadded tokens come back, in
evaluation mode (hard codes). With K = 512 codes a token no bottleneck can beat the mass of the 512 likeliest tokens,
.91 (residual codes are combinations, and can). A smoke test of formulas, not evidence about T5.

Letters: B batch, T positions, E width of the states, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t5vqvae.quantizers import Quantizer
from t5vqvae.quantizers.parts.usage import count_codes, entropy_bits, perplexity

VOCABULARY = 1000
WIDTH = 64
CODES = 512
SENTENCES, LONGEST = 20, 32
EVALUATION_BATCHES = 20


@dataclass(frozen=True)
class Score:
    """What an evaluation shows.

    Attributes:
        accuracy: Share of unpadded tokens decoded right, codes hard.
        soft_accuracy: The same with `hard` False; differs for variants whose training output is continuous.
        perplexity: Effective number of codes; with several codebooks, of their combinations.
        bits: Entropy of the codes in bits a token, summed over codebooks; None without codes.
    """

    accuracy: float
    soft_accuracy: float
    perplexity: float
    bits: float | None


class Autoencoder(nn.Module):
    """Embedding, linear map, bottleneck, two-layer decoder."""

    def __init__(self, quantizer: nn.Module) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        nn.init.normal_(self.embedding.weight, std=0.35)
        self.encoder = nn.Linear(WIDTH, WIDTH)
        self.quantizer = quantizer
        self.decoder = nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, VOCABULARY))

    def states(self, tokens_BT: Tensor) -> Tensor:
        return self.encoder(self.embedding(tokens_BT))

    def forward(self, tokens_BT: Tensor, mask_BT: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Returns the logits of unpadded tokens, the auxiliary loss and the codes."""
        out = self.quantizer(self.states(tokens_BT), mask_BT)
        return self.decoder(out.quantized_BTE[mask_BT]), out.aux_loss, out.codes_BTQ


def batch(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Returns tokens, shape (B, T), and their mask: about 350 tokens, padding filled with a token of its own."""
    p_V = 1.0 / torch.arange(1, VOCABULARY + 1)
    tokens_BT = torch.multinomial(p_V, SENTENCES * LONGEST, replacement=True, generator=generator).view(
        SENTENCES, LONGEST
    )
    lengths_B1 = torch.randint(4, LONGEST + 1, (SENTENCES, 1), generator=generator)
    mask_BT = torch.arange(LONGEST) < lengths_B1
    return tokens_BT.masked_fill(~mask_BT, VOCABULARY - 1), mask_BT


def train(build: Callable[[], nn.Module], seed: int, num_steps: int = 800, learning_rate: float = 3e-3) -> Score:
    """Trains an autoencoder around the quantizer that `build` returns and scores it on fresh batches.

    Everything around the quantizer starts alike for a seed, whatever the quantizer drew: the luck of that start moves
    slow learners by more than .05.
    """
    torch.manual_seed(seed)
    quantizer = build()
    torch.manual_seed(seed)
    model = Autoencoder(quantizer)
    generator = torch.Generator().manual_seed(seed)
    _start(model, torch.Generator().manual_seed(seed + 10_000))
    optimizer = torch.optim.Adam(model.parameters(), learning_rate)
    for _ in range(num_steps):
        tokens_BT, mask_BT = batch(generator)
        logits_NV, aux_loss, _ = model(tokens_BT, mask_BT)
        optimizer.zero_grad()
        (F.cross_entropy(logits_NV, tokens_BT[mask_BT]) + aux_loss).backward()
        optimizer.step()
        if isinstance(model.quantizer, Quantizer):
            model.quantizer.update()
    return evaluate(model, seed)


@torch.no_grad()
def _start(model: Autoencoder, generator: torch.Generator) -> None:
    wanted = getattr(model.quantizer, "num_start_vectors", 0)
    vectors: list[Tensor] = []
    while sum(map(len, vectors)) < wanted:
        tokens_BT, mask_BT = batch(generator)
        vectors.append(model.quantizer.project_in(model.states(tokens_BT)[mask_BT]))
    if wanted:
        model.quantizer.start(torch.cat(vectors)[:wanted])


@torch.no_grad()
def evaluate(model: Autoencoder, seed: int) -> Score:
    """Scores a trained autoencoder on batches that training has not seen."""
    model.eval()
    accuracy, codes = _decode(model, seed)
    model.quantizer.hard = False
    soft_accuracy, _ = _decode(model, seed)
    if codes is None:
        return Score(accuracy, soft_accuracy, float("nan"), None)
    counts = count_codes(codes, (int(codes.max()) + 1,) * codes.shape[-1])
    together = perplexity(codes.unique(dim=0, return_counts=True)[1])
    return Score(accuracy, soft_accuracy, together, sum(map(entropy_bits, counts)))


def _decode(model: Autoencoder, seed: int) -> tuple[float, Tensor | None]:
    """Returns the accuracy and the codes of the unpadded positions, shape (positions, Q)."""
    generator = torch.Generator().manual_seed(seed + 20_000)
    hits, codes = [], []
    for _ in range(EVALUATION_BATCHES):
        tokens_BT, mask_BT = batch(generator)
        logits_NV, _, codes_BTQ = model(tokens_BT, mask_BT)
        hits.append((logits_NV.argmax(-1) == tokens_BT[mask_BT]).float())
        if codes_BTQ is not None:
            codes.append(codes_BTQ[mask_BT])
    return float(torch.cat(hits).mean()), torch.cat(codes) if codes else None
