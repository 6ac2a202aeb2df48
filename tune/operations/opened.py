"""Opens the trained model of a command, and finds the sentences of its corpus."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from t5vqvae.errors import DataError, SettingError
from t5vqvae.stages import stage
from tune.records.loading import loaded_model
from tune.records.models import FoundModel, find_model, without_advice
from tune.records.study_paths import state_dir

if TYPE_CHECKING:
    import torch

    from t5vqvae.data.prepare import PreparedData
    from t5vqvae.data.role_reader import RoleReader
    from t5vqvae.latent.latent_space import LatentSpace
    from t5vqvae.latent.sentence import Sentence
    from t5vqvae.spec.run import RunSpec

MODEL = "A checkpoint folder, a run id, a folder of runs/, STUDY, STUDY/TRIAL, or models:/NAME@ALIAS."


@dataclass(frozen=True)
class Opened:
    """A trained model that is ready for operations.

    Attributes:
        space: The model.
        name: Its name, as the user gave it.
        spec: The spec that it was trained by; None for a model's folder without one.
        cache: Where prepared data lies.
    """

    space: LatentSpace
    name: str
    spec: RunSpec | None
    cache: Path

    def prepared(self, way_out: str) -> PreparedData:
        """Returns the corpus of the model.

        Args:
            way_out: What to do when the model has no spec, or its data is gone, for the error.

        Raises:
            DataError: If the data cannot be prepared.
            SettingError: If the model has no spec, so that its corpus is unknown.
        """
        if self.spec is None:
            raise SettingError(f"{self.name} has no spec.json, so its corpus is unknown; {way_out}")
        from t5vqvae.data import prepare

        try:
            with stage("preparing the data"):
                return prepare(self.spec.data, self.cache, backbone=self.spec.model.backbone)
        except DataError as error:
            reason = without_advice(error)
            raise DataError(
                f"the data of {self.name} cannot be read: {reason}; {way_out}, or put it back there"
            ) from None

    def training_texts(self, number: int, file: Path | None) -> list[str]:
        """Returns the first sentences of a file, or of the training split; a source of two texts as `A </s> B`."""
        if file is not None:
            return lines_of(file)[:number]
        split = self.prepared("give sentences by --texts FILE").own_train
        return split.sources(range(min(number, len(split))))

    def training_roles(self, number: int) -> list[list[str]] | None:
        """Returns the role of every token of the first training sentences; None where the corpus has no roles."""
        data = self.prepared("give sentences by --texts FILE")
        roles_BT = data.own_train.batch(range(min(number, len(data.own_train)))).roles_BT
        return None if roles_BT is None else [[data.role_names[each] for each in row] for row in roles_BT.tolist()]


def open_model(name: str, state: Path | None, max_new_tokens: int | None = None) -> Opened:
    """Returns the model that a user names, loaded; a folder of weights alone is one without a spec.

    Args:
        name: Its name, as the user gave it.
        state: The state folder; None: the usual one.
        max_new_tokens: Tokens after which decoding stops; None: as many as in the evaluations of its run, or `LONGEST`
            without a spec.

    Raises:
        UserError: If there is no such model, or its latents do not decide its texts.
    """
    root = state_dir(state)
    found = found_with_spec(name, root)
    from t5vqvae.latent.latent_space import LONGEST, LatentSpace

    model, cache = loaded_model(Path(name).expanduser() if found is None else found.folder), root / "cache"
    spec = None if found is None else found.spec
    roles = None if spec is None or not model.quantizer.reads_roles else _roles_of(spec, cache)
    longest = max_new_tokens or (LONGEST if spec is None else spec.max_new_tokens)
    pairs = spec is not None and spec.data.corpus.gives_pairs
    return Opened(LatentSpace(model, longest, roles=roles, pairs=pairs), name, spec, cache)


def found_with_spec(name: str, root: Path) -> FoundModel | None:
    """Returns the model that a user names, not loaded; None for a folder of weights alone.

    Raises:
        UserError: If there is no such model.
    """
    folder = Path(name).expanduser()
    bare = (folder / "config.json").is_file() and not (folder.parent / "spec.json").is_file()
    return None if bare else find_model(name, root)


def _roles_of(spec: RunSpec, cache: Path) -> RoleReader:
    """Returns the roles that a model was trained with."""
    from t5vqvae.data import prepare
    from t5vqvae.data.role_reader import RoleReader

    with stage("preparing the data"):
        names = prepare(spec.data, cache, backbone=spec.model.backbone).role_names
    return RoleReader(spec.data.corpus, names)


def lines_of(file: Path) -> list[str]:
    """Returns the sentences of a text file, one a line; empty lines are left out.

    Raises:
        SettingError: If it cannot be read, or has no sentence.
        DataError: If it is no UTF-8 text.
    """
    from t5vqvae.data.corpora.rows import read_rows  # as training reads a file

    try:
        lines = [row.cells["text"].strip() for row in read_rows(file, "txt")]
    except OSError as error:
        raise SettingError(
            f"{file} cannot be read: {error.strerror}; give a text file with one sentence a line"
        ) from None
    if not lines:
        raise SettingError(f"{file} has no sentence; write one a line")
    return lines


def positions_of_role(opened: Opened, sentence: Sentence, role: str) -> list[int]:
    """Returns the positions of a role in a sentence of the training or validation split.

    Raises:
        DataError: If the corpus has no roles, the sentence is none of it, or has no such role.
    """
    from t5vqvae.data.texts import same_text

    data = opened.prepared("give --position")
    for split in (data.train, data.validation):
        if not split.has_roles:
            raise DataError(f"the corpus of {opened.name} has no roles; give --position")
        for row, text in enumerate(split.sources(range(len(split)))):
            if same_text(text, sentence.text):
                roles_BT = split.batch([row]).roles_BT
                assert roles_BT is not None
                return _with_role(roles_BT[0], data.role_names, role, sentence)
    raise DataError(
        f"{sentence.text!r:.80} is no sentence of the training or validation split, so its roles are unknown;"
        " give --position"
    )


def _with_role(roles_T: torch.Tensor, names: tuple[str, ...], role: str, sentence: Sentence) -> list[int]:
    words = [names[number] for number in roles_T.tolist()]
    if role not in words or role == names[0]:
        own = sorted(set(words) - {names[0]})
        raise DataError(f"--role {role}: {sentence.text!r:.80} has no such role; its roles: {', '.join(own)}")
    return [place for place, word in enumerate(words) if word == role]
