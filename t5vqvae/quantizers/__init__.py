"""Every discrete bottleneck of the field behind one contract; see `base.py` to add one."""

from t5vqvae.quantizers.base import Packed, Quantizer, QuantizerConfig, QuantizerOutput
from t5vqvae.quantizers.ema import EMAConfig
from t5vqvae.quantizers.kmeans import KMeansConfig
from t5vqvae.quantizers.none import NoneConfig
from t5vqvae.quantizers.vq import VQConfig

__all__ = [
    "EMAConfig",
    "KMeansConfig",
    "NoneConfig",
    "Packed",
    "Quantizer",
    "QuantizerConfig",
    "QuantizerOutput",
    "VQConfig",
]
