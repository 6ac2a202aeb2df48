"""`transformer`: a VQ-VAE on the plain Transformer, without T5's parts.

Different from T5: sinusoidal positions added to the embeddings instead of a relative bias; attention scores divided by
sqrt(d_k); layer norm with mean and bias, after each sublayer, instead of root mean square before it; biases throughout;
no pretraining. As in T5VQVAE, the quantizer is between encoder and cross-attention. Input embeddings (times sqrt(E))
and output matrix share their weights.

Source: Vaswani et al. 2017, arXiv 1706.03762, sections 3.1 to 3.5; `norm: pre` is the later variant, more stable in
deep models (Xiong et al. 2020, arXiv 2002.04745).

Same: sinusoids, scaled attention, layer norm after each sublayer, shared embeddings times sqrt(E).

Different: a quantizer stands between encoder and cross-attention; the memory also has sinusoids, as in T5VQVAE with
`cross_positions=absolute`: without them the decoder could not order codes that are free of position.

Letters: B batch, T encoder positions, S decoder positions, E model width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t5vqvae.data.batch import Batch
from t5vqvae.models.baselines.base import Autoencoder, BaselineConfig, Values
from t5vqvae.models.contract import Memory
from t5vqvae.models.t5 import sinusoids
from t5vqvae.spec.architectures import TransformerConfig


class TransformerVQVAE(Autoencoder):
    """The Transformer's encoder, a quantizer, the Transformer's decoder."""

    settings: TransformerConfig

    def __init__(self, config: BaselineConfig) -> None:
        super().__init__(config)
        size = self.settings
        sizes: Values = {
            "d_model": size.d_model,
            "nhead": size.num_heads,
            "dim_feedforward": size.d_ff,
            "dropout": size.dropout,
            "batch_first": True,
            "norm_first": size.norm == "pre",
        }
        last_norm = nn.LayerNorm if size.norm == "pre" else nn.Identity
        self.embedding = nn.Embedding(config["vocab_size"], size.d_model)
        nn.init.normal_(self.embedding.weight, std=size.d_model**-0.5)
        self.dropout = nn.Dropout(size.dropout)
        self.encoder = nn.ModuleList(nn.TransformerEncoderLayer(**sizes) for _ in range(size.num_layers))
        self.encoder_norm = last_norm(size.d_model)
        self.decoder = nn.ModuleList(nn.TransformerDecoderLayer(**sizes) for _ in range(size.num_decoder_layers))
        self.decoder_norm = last_norm(size.d_model)
        self.quantizer = self.build_quantizer(size.d_model)

    def embed(self, ids_BT: Tensor) -> Tensor:
        """Returns token embeddings times sqrt(E), plus sinusoidal positions."""
        x_BTE = self.embedding(ids_BT) * self.settings.d_model**0.5
        return self.dropout(x_BTE + sinusoids(x_BTE))

    def encode_memory(self, batch: Batch) -> Memory:
        x_BTE, padding_BT = self.embed(batch.input_ids_BT), ~batch.mask_BT
        for layer in self.encoder:
            x_BTE = layer(x_BTE, src_key_padding_mask=padding_BT)
        x_BTE = self.encoder_norm(x_BTE)
        output = self.quantizer(x_BTE, batch.mask_BT, batch.roles_BT)
        return Memory(output.quantized_BTE, batch.mask_BT, output, x_BTE)

    def logits(self, memory: Memory, ids_BS: Tensor) -> Tensor:
        y_BSE = self.embed(ids_BS)
        future_SS = torch.ones(ids_BS.shape[1], ids_BS.shape[1], dtype=torch.bool, device=ids_BS.device).triu(1)
        states_BME = memory.states_BME + sinusoids(memory.states_BME)
        for layer in self.decoder:
            y_BSE = layer(y_BSE, states_BME, tgt_mask=future_SS, memory_key_padding_mask=~memory.mask_BM)
        return F.linear(self.decoder_norm(y_BSE), self.embedding.weight)
