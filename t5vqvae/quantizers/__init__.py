"""The discrete bottlenecks of the field behind one contract; `base.py` explains how to add one."""

from t5vqvae.quantizers.aminoaseed import AminoAseedConfig
from t5vqvae.quantizers.base import Packed, Quantizer, QuantizerConfig, QuantizerOutput
from t5vqvae.quantizers.ema import EMAConfig
from t5vqvae.quantizers.fsq import FSQConfig
from t5vqvae.quantizers.gumbel import GumbelConfig
from t5vqvae.quantizers.hypervq import HyperVQConfig
from t5vqvae.quantizers.kmeans import KMeansConfig
from t5vqvae.quantizers.lfq import LFQConfig
from t5vqvae.quantizers.none import NoneConfig
from t5vqvae.quantizers.pca import PCAConfig
from t5vqvae.quantizers.role import RoleConfig
from t5vqvae.quantizers.rvq import RVQConfig
from t5vqvae.quantizers.sfvq import SFVQConfig
from t5vqvae.quantizers.simvq import SimVQConfig
from t5vqvae.quantizers.soft import SoftConfig
from t5vqvae.quantizers.vq import VQConfig

__all__ = [
    "AminoAseedConfig",
    "EMAConfig",
    "FSQConfig",
    "GumbelConfig",
    "HyperVQConfig",
    "KMeansConfig",
    "LFQConfig",
    "NoneConfig",
    "PCAConfig",
    "Packed",
    "Quantizer",
    "QuantizerConfig",
    "QuantizerOutput",
    "RVQConfig",
    "RoleConfig",
    "SFVQConfig",
    "SimVQConfig",
    "SoftConfig",
    "VQConfig",
]
