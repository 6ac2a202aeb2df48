"""A price on the rate: codes are drawn towards those that the code before them makes likely.

A bigram of low rank is learned together with the model: the logits of a code are a linear map of a vector of the code
before. The loss counts -ln p(code | code before), nats, times a price. The prior learns from the chosen codes; the
encoder, which cannot be differentiated through a choice, gets the gradient of the expected nats under soft choices,
softmax(-|state - entry|^2 / t), with t the position's squared distance to its chosen entry.

Source: the rate term of entropy-constrained vector quantization (Chou, Lookabaugh and Gray 1989), in the differentiable
form of Agustsson et al., "Soft-to-hard vector quantization", arXiv 1704.00648.

Same: distortion plus a multiplier times the rate of the codes; soft choices by a softmax of negative distances.

Different: the rate is conditional, of a code given the one before; the codes that the decoder reads stay the nearest
ones, so the price moves the encoder's states and not the choice among entries. That a code also decides what the next
one costs has no gradient.

Letters: B batch, T encoder positions, E model width, K entries, R the bigram's rank.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t5vqvae.quantizers.parts.float32 import full_float32

_RANK = 32


class CodePrior(nn.Module):
    """A bigram of codes, and what the codes of a batch cost under it.

    Attributes:
        price: What a nat of a position's code costs, in nats of a target token.
    """

    def __init__(self, num_codes: int, price: float) -> None:
        super().__init__()
        self.price = price
        self.before = nn.Embedding(num_codes + 1, _RANK)  # the last one stands before a sentence
        self.logits = nn.Linear(_RANK, num_codes)
        nn.init.zeros_(self.logits.weight)
        nn.init.zeros_(self.logits.bias)

    def nats(self, codes_BT: Tensor) -> Tensor:
        """Returns -ln p(k | the code before) of every entry k at every position, shape (B, T, K)."""
        codes_BT = codes_BT.clamp_min(0)  # behind padding nothing is read
        first_B1 = torch.full_like(codes_BT[:, :1], self.before.num_embeddings - 1)
        before_BTR = self.before(torch.cat([first_B1, codes_BT[:, :-1]], 1))
        return -F.log_softmax(self.logits(before_BTR).float(), -1)

    def cost(self, states_BTE: Tensor, codes_BT: Tensor, mask_BT: Tensor, codebook_KE: Tensor) -> Tensor:
        """Returns the price of the chosen codes, nats, a mean over the real positions.

        Args:
            states_BTE: The states before the quantizer, with their gradient.
            codes_BT: The chosen codes; at padding anything.
            mask_BT: True at real positions.
            codebook_KE: The entries as vectors of the model; they get no gradient.
        """
        with full_float32(states_BTE.device.type):  # differences of squares need float32
            return self._cost(states_BTE.float(), codes_BT, mask_BT, codebook_KE.detach().float())

    def _cost(self, states_BTE: Tensor, codes_BT: Tensor, mask_BT: Tensor, codebook_KE: Tensor) -> Tensor:
        nats_BTK = self.nats(codes_BT)
        chosen_BT1 = codes_BT.clamp_min(0).unsqueeze(-1)
        hard_BT = nats_BTK.gather(-1, chosen_BT1).squeeze(-1)
        # Not `squared_distances`, which the quantizer chooses by: that has no gradient.
        far_BTK = states_BTE.square().sum(-1, keepdim=True) + codebook_KE.square().sum(-1)
        far_BTK = (far_BTK - 2 * states_BTE @ codebook_KE.T).clamp_min(0)
        scale_BT1 = far_BTK.detach().gather(-1, chosen_BT1).clamp_min(1e-6)
        soft_BT = (F.softmax(-far_BTK / scale_BT1, -1) * nats_BTK.detach()).sum(-1)
        cost_BT = hard_BT + soft_BT - soft_BT.detach()  # the value of the hard codes, and both gradients
        return self.price * (cost_BT * mask_BT).sum() / mask_BT.sum().clamp_min(1)
