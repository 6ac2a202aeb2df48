"""Configs: strict sections of a spec, variants chosen by name, and the one override language."""

from t5vqvae.config.base import Config, LocalOrHub, LocalPath, Overrides, Variant, apply_overrides, setting
from t5vqvae.config.paths import flatten, short_names, unknown_setting
from t5vqvae.config.reading import parse_words, read_value, read_yaml

__all__ = [
    "Config",
    "LocalOrHub",
    "LocalPath",
    "Overrides",
    "Variant",
    "apply_overrides",
    "flatten",
    "parse_words",
    "read_value",
    "read_yaml",
    "setting",
    "short_names",
    "unknown_setting",
]
