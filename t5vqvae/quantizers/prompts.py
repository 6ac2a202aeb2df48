"""Instance-aware prompts: a few vectors computed from the input, quantized, and put before the decoder's memory.

p_c = PHM_up(ReLU(PHM_down(g))) of the mean encoder state g; p_q = the mean of n entries of a small codebook, drawn
with probability softmax(-||p_c - e||^2 / T) (in evaluation the nearest entry); prompt = p_c + sg(p_q - p_c) + p_emb.
The consistency term is weight * ||sg(p_q) - p_c||^2, and the codebook learns by moving averages. So the model has a
discrete latent of the sentence in addition to that of each token, and its codes count in the rate.

`quantize=False` gives the same prompts, continuous: the control of equal parameters that the paper's reviewers wanted.

Source: IA-GPL, arXiv 2411.17676 (lijiazheng0917/IA-GPL), by `model.prompts`.

Same: hidden width 128, four blocks, decay .9, ten samples, weight .01, codebooks of 10 to 50.

Different: there are several prompts, and they are memory positions, instead of one prompt added to every node; the
moving averages are those of `ema`, without Laplace smoothing, and an entry without inputs stays, where the published
code multiplies it by .9 at every step; nothing is sampled in evaluation, where the published code samples too; the
term is summed over prompts and divided by the source tokens, so that micro-batches add up.

Letters: B batch, P prompts a sentence, Q codebooks a prompt (1), E model width, H hidden width, T encoder positions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from t5vqvae.config import Config, setting
from t5vqvae.quantizers import EMAConfig, Quantizer, QuantizerOutput
from t5vqvae.quantizers.none import NoQuantizer


class PromptConfig(Config):
    """Quantized prompts computed from the input."""

    num_prompts: int = setting(4, ge=1, description="P, prompts a sentence")
    hidden_width: int = setting(128, ge=4, multiple_of=4, description="H, width between the two PHM layers")
    codebook_size: int = setting(20, ge=2, description="entries that all prompts share")
    num_samples: int = setting(10, ge=1, description="entries whose mean a prompt takes in training")
    temperature: float = setting(1.0, gt=0)
    decay: float = setting(0.9, gt=0, lt=1, description="of the codebook's moving averages")
    consistency_weight: float = setting(0.01, ge=0, description="weight of ||sg(p_q) - p_c||^2")
    quantize: bool = setting(True, description="False: continuous prompts, the control of equal parameters")

    def build(self, model_width: int, seed: int = 0) -> Prompts:
        """Returns the prompts for states of `model_width`, a multiple of 4."""
        return Prompts(self, model_width, seed)

    def quantizer(self, model_width: int, seed: int) -> Quantizer:
        """Returns the quantizer of the prompts."""
        if not self.quantize:
            return NoQuantizer(model_width, None, (), seed)
        config = EMAConfig(
            codebook_size=self.codebook_size,
            decay=self.decay,
            commitment_weight=self.consistency_weight,
            selection="multi",
            num_samples=self.num_samples,
            temperature=self.temperature,
            start="random",
            revive_below=None,
        )
        return config.build(model_width, seed=seed + 1)  # other entries than the token codebook, which has `seed`


class Prompts(nn.Module):
    """Computes P prompts from the encoder's states.

    Attributes:
        quantizer: The quantizer of the prompts.
    """

    def __init__(self, config: PromptConfig, model_width: int, seed: int) -> None:
        super().__init__()
        self.config, self.width = config, model_width
        self.down = PHMLinear(model_width, config.hidden_width)
        self.up = PHMLinear(config.hidden_width, config.num_prompts * model_width)
        self.embedding_PE = nn.Parameter(torch.empty(config.num_prompts, model_width))
        nn.init.xavier_uniform_(self.embedding_PE)
        self.quantizer = config.quantizer(model_width, seed)

    def candidates(self, states_BE: Tensor) -> Tensor:
        """Returns p_c of mean encoder states, shape (B, P, E)."""
        return self.up(torch.relu(self.down(states_BE))).unflatten(-1, (self.config.num_prompts, self.width))

    def forward(self, states_BE: Tensor) -> tuple[Tensor, QuantizerOutput]:
        """Returns the prompts, shape (B, P, E), and the output of their quantizer."""
        candidates_BPE = self.candidates(states_BE)
        output = self.quantizer(candidates_BPE, torch.ones_like(candidates_BPE[..., 0], dtype=torch.bool))
        return output.quantized_BTE + self.embedding_PE, output

    def embed(self, codes_BPQ: Tensor) -> Tensor:
        """Returns the prompts of codes, shape (B, P, E)."""
        return self.quantizer.lookup(codes_BPQ) + self.embedding_PE


class PHMLinear(nn.Module):
    """A linear layer with a quarter of the parameters: W = sum over i of A_i (4 x 4) kron S_i (out/4 x in/4).

    Source: Zhang et al. 2021, arXiv 2102.08597 (parameterized hypercomplex multiplication).
    """

    def __init__(self, in_width: int, out_width: int, num_blocks: int = 4) -> None:
        super().__init__()
        self.mixing = nn.Parameter(torch.empty(num_blocks, num_blocks, num_blocks))
        self.blocks = nn.Parameter(torch.empty(num_blocks, out_width // num_blocks, in_width // num_blocks))
        self.bias = nn.Parameter(torch.empty(out_width))
        nn.init.xavier_uniform_(self.mixing)
        nn.init.xavier_uniform_(self.blocks)
        nn.init.uniform_(self.bias, -(in_width**-0.5), in_width**-0.5)

    @property
    def weight(self) -> Tensor:
        """The weight W, shape (out, in)."""
        return torch.einsum("iab,icd->acbd", self.mixing, self.blocks).reshape(self.bias.shape[0], -1)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight, self.bias)
