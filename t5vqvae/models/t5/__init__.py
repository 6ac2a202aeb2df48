"""T5VQVAE: T5 whose decoder sees its encoder through a quantizer (arXiv 2402.00723).

Encoder blocks 1..n, the quantizer, blocks n+1..N, the final layer norm, the decoder. With `position` n = N the
quantizer comes after the final layer norm: the decoder's keys and values are then the code vectors themselves. With
`final_norm=after` it comes before, on raw states as after every earlier block. With quantizer `none` every n equals
plain T5.

`T5VQVAE` is a Transformers model: `save_pretrained`, `from_pretrained`, `generate`. A model with a tokenizer also has
`encode(texts) -> codes` and `decode(codes) -> texts`.

Source: T5VQVAE, arXiv 2402.00723 (SnowYJ/T5VQVAE).

Same: T5's blocks and norm, a quantizer after block n, code vectors as the decoder's keys and values, dropout before
the codebook and none after; `position: N, final_norm: after` is the published 12, `position: null` its None; two
premises jointly, separately (`premises`) or in two stages (`train.autoencode_steps`).

Different: padding is neither quantized nor counted, and cross-attention ignores it; evaluation learns nothing; nothing
is chosen on test data. The published encoder mixes semantic roles into its states, h <- .7 h + .3 e_role after every
block; here only the quantizer `role` reads them. Optional here: positions in cross-attention (`cross_positions`),
which a decoder from scratch needs.

Letters: B batch, T encoder positions, S decoder positions, E model width, Q codes a position.
"""

from t5vqvae.models.contract import Losses, TextAutoencoder, load_model, reconstruct
from t5vqvae.models.t5.builders import build_t5vqvae
from t5vqvae.models.t5.config import T5VQVAEConfig
from t5vqvae.models.t5.decoder import sinusoids
from t5vqvae.models.t5.quantized_t5 import T5VQVAEOutput
from t5vqvae.models.t5.t5vqvae import T5VQVAE

__all__ = [
    "T5VQVAE",
    "Losses",
    "T5VQVAEConfig",
    "T5VQVAEOutput",
    "TextAutoencoder",
    "build_t5vqvae",
    "load_model",
    "reconstruct",
    "sinusoids",
]
