"""The defaults of all settings of a run, as they are recorded; `python tests/support/defaults.py` records them anew.

`RunSpec.settings_id` leaves out what is at its default, so that a later version's new setting changes no id. A changed
default would then give two different runs one id: it needs a new `DEFAULTS_VERSION`, and a test holds that.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from pydantic_core import to_jsonable_python

from t5vqvae.config import Config
from t5vqvae.spec.run import DEFAULTS_VERSION, RunSpec

FILE = Path(__file__).parent.parent / "end_to_end" / "defaults.json"

_OTHERS = ("t5vqvae.latent.", "t5vqvae.serving.", "t5vqvae.spec.probe")
"""Modules whose settings are of no run."""


def sections(of: type[Config] = Config) -> Iterator[type[Config]]:
    """All sections of a run's spec, variants included."""
    for section in of.__subclasses__():
        if section.__module__.startswith("t5vqvae.") and not section.__module__.startswith(_OTHERS):
            yield section
        yield from sections(section)


def present() -> dict[str, object]:
    """Every default by its section and name, with the version that they belong to."""
    assert RunSpec in set(sections())
    found: dict[str, object] = {"version": DEFAULTS_VERSION}
    for section in sorted(set(sections()), key=lambda each: each.__name__):
        for name, field in section.model_fields.items():
            default = field.get_default(call_default_factory=True)
            if not isinstance(default, Config):
                found[f"{section.__name__}.{name}"] = to_jsonable_python(default, fallback=str)
    return found


if __name__ == "__main__":
    FILE.write_text(json.dumps(present(), indent=0, sort_keys=True) + "\n", encoding="utf-8")
