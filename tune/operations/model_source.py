"""The model of a server: any that a command can open, and the registered one whose alias may move."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from t5vqvae.errors import SettingError, UserError
from t5vqvae.latent.code_use import cut_of
from t5vqvae.serving.served_model import ServedModel
from tune.operations.opened import Opened, found_with_spec, lines_of, open_model
from tune.records.models import REGISTERED, registered_version
from tune.records.study_paths import state_dir


@dataclass(frozen=True)
class ModelSource:
    """Where a served model comes from.

    Attributes:
        model: Its name, as the user gave it.
        state: The state folder; None: the usual one.
        sentences: Sentences that the pages of its codes read.
        texts: A file of such sentences; None: the model's training split.
    """

    model: str
    state: Path | None
    sentences: int
    texts: Path | None = None

    @property
    def follows(self) -> bool:
        """Whether an alias names the model."""
        found = REGISTERED.fullmatch(self.model)
        return found is not None and found["alias"] is not None

    def newest(self) -> str:
        """Returns the version that the alias names now; of what no alias names, its version."""
        found = REGISTERED.fullmatch(self.model)
        if found is None or found["alias"] is None:
            return "" if found is None else found["version"]
        return registered_version(self.model, state_dir(self.state))[1].version

    def require(self) -> None:
        """Refuses a model that is not there; of models on a disk, only where this machine has the state folder.

        Raises:
            UserError: If there is none.
        """
        root = state_dir(self.state)
        if self.model.startswith("models:"):
            registered_version(self.model, root)
        elif root.is_dir():
            found_with_spec(self.model, root)

    def load(self, version: str) -> ServedModel:
        """Returns the model of a version, loaded.

        Raises:
            UserError: If there is none, its latents do not decide its texts, or it reads roles that texts lack.
        """
        found = REGISTERED.fullmatch(self.model)
        named = self.model if found is None else f"models:/{found['name']}/{version}"
        opened = open_model(named, self.state)
        _require_roles(opened)

        def sentences() -> Sequence[str]:
            return self._sentences(opened)

        name = self.model if found is None else found["name"]
        return ServedModel(opened.space, name, version, sentences, cut_of(opened.spec))

    def _sentences(self, opened: Opened) -> Sequence[str]:
        if self.texts is not None:
            return lines_of(self.texts)[: self.sentences]
        try:
            return opened.training_texts(self.sentences, None)
        except OSError as error:
            raise UserError(
                f"the corpus of {opened.name} cannot be read: {error}; give sentences by --texts FILE"
            ) from None


def _require_roles(opened: Opened) -> None:
    """Refuses a model that would answer otherwise than it was measured, as texts lack the roles that it reads."""
    if not opened.space.model.quantizer.reads_roles:
        return
    if opened.space.roles is None:
        raise SettingError(f"{opened.name} reads roles and has no spec.json to tell them; name its checkpoint folder")
    opened.space.roles.require_new_texts()
