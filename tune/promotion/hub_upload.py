"""Uploads a registered model to the Hugging Face hub: its Transformers folder, and its model card as README.md.

What is uploaded is the folder that `t5vqvae.models.contract.load_model` reads (config, weights, tokenizer), in one
commit: no optimizer state, no record of the training, and no path of this machine, which a configuration may name. A
new repository is private: what cannot be taken back is published by a person, on the repository's page. One that is
there keeps its visibility. The token is HF_TOKEN, or what `hf auth login` stored; no message holds it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t5vqvae.errors import EnvironmentFault, SettingError
from t5vqvae.redaction import redacted
from t5vqvae.stages import stage

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError

CARD = "README.md"
_SETTINGS = ("config.json", "generation_config.json", "tokenizer_config.json")
"""The files that may name a path of this machine, such as a backbone's folder."""


def refuse_target(repo: str) -> str:
    """Refuses a repository that cannot be pushed to, before anything is tested; returns the token.

    Raises:
        SettingError: If its name is none of the hub, or there is no token.
    """
    from huggingface_hub import get_token
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo)
        named = repo.count("/") == 1
    except HFValidationError:
        named = False
    if not named:
        raise SettingError(f"{repo!r} is no repository of the hub; write OWNER/NAME, of letters, digits, '-', '_', '.'")
    token = get_token()
    if not token:
        raise SettingError(f"{repo}: there is no token of the hub; set HF_TOKEN, or log in with `hf auth login`")
    return token


def push(folder: Path, card: str, repo: str) -> str:
    """Uploads a Transformers folder and a card to a repository, and returns its address.

    Args:
        folder: The model's own files; subfolders keep their names.
        card: What README.md says.
        repo: OWNER/NAME; a private one is made where there is none.

    Raises:
        SettingError: If the name or the token is wrong.
        EnvironmentFault: If the hub cannot be reached, or refuses.
    """
    token = refuse_target(repo)
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()  # the stage shows that it runs
    files = uploaded_files(folder, card)
    api = HfApi(token=token)
    with stage(f"uploading {len(files)} files to {repo}"), _in_one_line(repo, token):
        address = api.create_repo(repo, private=True, exist_ok=True)
        operations = [CommitOperationAdd(name, content) for name, content in files.items()]
        api.create_commit(repo, operations, commit_message="Upload a model of t5vqvae")
    return str(address)


def uploaded_files(folder: Path, card: str) -> dict[str, Path | bytes]:
    """Returns what is uploaded, by its name in the repository: a file of the folder, or a changed content."""
    found: dict[str, Path | bytes] = {CARD: card.encode()}
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = file.relative_to(folder).as_posix()
        found[name] = _without_paths(file) if name in _SETTINGS else file
    return found


def _without_paths(file: Path) -> bytes:
    """Returns the content of a settings file; of an absolute path its last part stays."""
    return (json.dumps(_shortened(json.loads(file.read_text(encoding="utf-8"))), indent=2) + "\n").encode()


def _shortened(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: each if _is_of_tokens(name) else _shortened(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_shortened(each) for each in value]
    return _last_part(value) if isinstance(value, str) else value


def _is_of_tokens(name: str) -> bool:
    """Returns whether a setting holds tokens, such as `//`, which look like paths and are none."""
    return name == "added_tokens_decoder" or name.endswith(("_token", "_tokens"))


def _last_part(text: str) -> str:
    """Returns the last part of an absolute path; any other text as it is."""
    return Path(text).name if text.startswith("/") and text.count("/") > 1 and "\n" not in text else text


@contextmanager
def _in_one_line(repo: str, token: str) -> Iterator[None]:
    """Turns what the hub's client raises into an error of one line, without the token."""
    from huggingface_hub.errors import HfHubHTTPError, HTTPError

    try:
        yield
    except HfHubHTTPError as error:
        raise EnvironmentFault(_clean(f"{repo}: {_refused(error)}", token)) from None
    except (OSError, RuntimeError, ValueError, HTTPError) as error:  # of the network, or what an answer is not
        reason = str(error).strip() or type(error).__name__
        raise EnvironmentFault(_clean(f"{repo}: the hub cannot be reached: {reason}", token)) from None


def _refused(error: HfHubHTTPError) -> str:
    """Returns what the hub refused, and the way out."""
    status = error.response.status_code
    if status == 401:
        return "the hub refuses the token (HTTP 401); set HF_TOKEN to one with the right to write"
    if status == 403:
        return "the token may not write there (HTTP 403); name a repository of its owner, or another token"
    said = error.server_message or str(error)
    return f"the hub refuses the upload (HTTP {status}): {said}"


def _clean(text: str, token: str) -> str:
    """Returns a message in one line, without the token."""
    return redacted(" ".join(text.replace(token, "***").split()))[:400]
