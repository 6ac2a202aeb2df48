"""Uploads to the hub, by its real client against a stub: which files, with which content, and refusals in one line."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
from hub_stub import TOKEN, HubStub, hub_stub
from promotions import STUDY, add_trial

from t5vqvae.errors import EnvironmentFault, SettingError
from t5vqvae.models.contract import load_model, reconstruct
from t5vqvae.spec.run import RunSpec
from t5vqvae.tracking import Tracker
from tune.cli import main
from tune.operations.promotion_commands import push_promoted
from tune.promotion.hub_upload import push, refuse_target, uploaded_files
from tune.promotion.model_card import LOADING, hub_card
from tune.promotion.outcome import Promotion
from tune.records.study_paths import StudyPaths
from tune.spec.search_spec import SearchSpec

REPO = "someone/math-vq"
CARD = "# A card\n"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubStub]:
    """A stub that the client takes for the hub, and a token for it."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    with hub_stub() as stub:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", stub.address)
        yield stub


@pytest.fixture
def model(template: Path) -> Path:
    """The model of a checkpoint, next to the state of its optimizer."""
    folder = template / "checkpoint" / "step-00000002"
    assert (folder / "training.pt").is_file()
    return folder / "model"


def test_what_is_in_the_folder_is_uploaded_with_the_card_to_a_private_repository(
    hub: HubStub, model: Path, tmp_path: Path
) -> None:
    assert push(model, CARD, REPO) == f"{hub.address}/{REPO}"
    own = {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert set(hub.files) == {"README.md", *own}
    assert hub.files["README.md"] == CARD.encode()
    assert hub.files["model.safetensors"] == (model / "model.safetensors").read_bytes()
    assert json.loads(hub.files["config.json"]) == json.loads((model / "config.json").read_text())
    assert hub.repos == {REPO: "private"}
    assert not [name for name, content in hub.files.items() if str(model.parents[2]).encode() in content]
    for name, content in hub.files.items():
        (tmp_path / name).write_bytes(content)
    texts = ["x + y", "\\sin{(k )}"]
    assert reconstruct(load_model(tmp_path), texts) == reconstruct(load_model(model), texts)


def test_a_repository_that_is_there_gets_a_further_commit_and_keeps_its_visibility(hub: HubStub, model: Path) -> None:
    hub.repos[REPO] = "public"
    push(model, CARD, REPO)
    assert hub.repos == {REPO: "public"} and hub.files


def test_paths_of_this_machine_are_left_out(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model, folder)
    config = json.loads((folder / "config.json").read_text())
    named = {**config, "_name_or_path": "/srv/me/t5-tiny", "prompts": ["/srv/me/a b.txt", "a/b", "/", "</s>"]}
    (folder / "config.json").write_text(json.dumps(named))
    files = uploaded_files(folder, CARD)
    assert json.loads(files["config.json"]) == {
        **named,
        "_name_or_path": "t5-tiny",
        "prompts": ["a b.txt", "a/b", "/", "</s>"],
    }
    assert files["model.safetensors"] == folder / "model.safetensors"


def test_tokens_that_look_like_paths_stay(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model, folder)
    tokens = {
        "added_tokens_decoder": {"0": {"content": "//", "special": False}},
        "unk_token": {"content": "/srv/unk"},
        "sep_token": "//",
        "additional_special_tokens": ["//", "/a/b"],
    }
    file = folder / "tokenizer_config.json"
    named = {**json.loads(file.read_text()), **tokens, "tokenizer_file": "/srv/me/tokenizer.json"}
    file.write_text(json.dumps(named))
    found = uploaded_files(folder, CARD)[file.name]
    assert isinstance(found, bytes) and json.loads(found) == {**named, "tokenizer_file": "tokenizer.json"}


def test_the_card_names_no_local_path_and_loads_from_the_hub() -> None:
    spec = RunSpec().with_overrides({"data.corpus.name": "text", "data.corpus.path": "/srv/me/my_sentences.txt"})
    card = f"**Data.** text (path=/srv/me/my_sentences.txt).\n\n{LOADING}\n```python\nmlflow.pyfunc ...\n```"
    text = hub_card(card, spec, REPO)
    assert "(path=my_sentences.txt)" in text and "/srv" not in text and "mlflow" not in text
    assert text.startswith("---\nlibrary_name: t5vqvae\n") and f'snapshot_download("{REPO}")' in text


@pytest.mark.parametrize("name", ["name", "a/b/c", "", "/", "a/", "a b/c", "a/..", "a/b.git", "http://x/y", "a--b/c"])
def test_a_name_that_no_repository_has_is_refused(hub: HubStub, name: str) -> None:
    with pytest.raises(SettingError, match=r"is no repository of the hub; write OWNER/NAME, of letters"):
        refuse_target(name)
    assert hub.requests == []


def test_without_a_token_nothing_is_requested(hub: HubStub, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    with pytest.raises(SettingError, match=f"^{REPO}: there is no token of the hub; set HF_TOKEN, or log in"):
        push(model, CARD, REPO)
    assert hub.requests == []


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (401, f"{REPO}: the hub refuses the token (HTTP 401); set HF_TOKEN to one with the right to write"),
        (403, f"{REPO}: the token may not write there (HTTP 403); name a repository of its owner, or another token"),
        (500, f"{REPO}: the hub refuses the upload (HTTP 500): it is tried, Bearer ***"),
    ],
)
def test_what_the_hub_refuses_is_one_line_without_the_token(hub: HubStub, model: Path, status: int, line: str) -> None:
    hub.status = status
    with pytest.raises(EnvironmentFault) as refused:
        push(model, CARD, REPO)
    assert str(refused.value) == line


def test_a_hub_that_does_not_answer_is_one_line(hub: HubStub, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{closed.getsockname()[1]}")
        with pytest.raises(EnvironmentFault, match=f"^{REPO}: the hub cannot be reached: ") as refused:
            push(model, CARD, REPO)
    assert "\n" not in str(refused.value) and TOKEN not in str(refused.value)


def test_a_failed_upload_leaves_the_promotion_and_names_the_command_that_uploads(
    hub: HubStub, paths: StudyPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    add_trial(paths, 0)
    state = ["--state", str(paths.state)]
    assert main(["promote", "tiny", "--push-to-hub", "no-owner", *state]) == 2
    assert "'no-owner' is no repository of the hub" in capsys.readouterr().err
    assert not (paths.trial(0) / "test.json").exists(), "it is refused before anything is tested"
    hub.status = 503
    assert main(["promote", "tiny", "--push-to-hub", REPO, *state]) == 1
    printed, errors = capsys.readouterr()
    assert "run run0 is version 1, alias champion" in printed and TOKEN not in printed + errors
    again = f"t5vqvae push models:/t5vqvae/1 {REPO} --state {paths.state}"
    line, _, log = errors.splitlines()[-1].rstrip(")").partition(" (log: ")
    assert line.endswith(f"; the promotion stands, and `{again}` uploads it") and TOKEN not in Path(log).read_text()
    registry = Tracker(f"sqlite:///{paths.state}/mlflow.db", "tiny").registry("t5vqvae")
    assert registry.aliases() == {"champion": "1"}
    hub.status = None
    assert main(again.split()[1:]) == 0
    assert capsys.readouterr().out == f"version 1 of t5vqvae is uploaded: {hub.address}/{REPO}\n"
    assert hub.files["model.safetensors"] == (paths.trial(0) / "step-00000002/model/model.safetensors").read_bytes()
    page = registry.description("1")
    assert page.partition(LOADING)[0].strip() in hub.files["README.md"].decode() and "Trial 0 of study tiny" in page
    hub.files = {}
    assert main(["promote", "tiny", "--push-to-hub", REPO, *state]) == 0
    assert f"version 1 of t5vqvae is uploaded: {hub.address}/{REPO}" in capsys.readouterr().out and hub.files


def test_a_challenger_is_not_uploaded(hub: HubStub, paths: StudyPaths) -> None:
    outcome = Promotion("r", "challenger", None, {}, False, (), "7", "models:/t5vqvae@challenger")
    said = push_promoted(outcome, paths, "t5vqvae", REPO, None)
    assert said == (
        f"not uploaded to {REPO}, because it is the challenger; `t5vqvae push models:/t5vqvae/7 {REPO}` does it anyway"
    )
    assert hub.requests == []


def test_the_command_that_uploads_names_the_server_of_the_study(
    paths: StudyPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = Promotion("r", "challenger", None, {}, False, (), "7", "models:/t5vqvae@challenger")
    uri = "http://me:secret@there:5000"
    SearchSpec.parse({**STUDY, "tracking": {"uri": uri}}).write(paths.spec)
    command = f"t5vqvae push models:/t5vqvae/7 {REPO}"
    assert f"; `MLFLOW_TRACKING_URI=http://there:5000 {command}` does" in push_promoted(
        outcome, paths, "t5vqvae", REPO, None
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert f"; `{command}` does" in push_promoted(outcome, paths, "t5vqvae", REPO, None)


def test_a_model_that_is_not_registered_is_refused(
    hub: HubStub, paths: StudyPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["push", "tiny/0", REPO, "--state", str(paths.state)]) == 2
    assert "tiny/0 is not registered; `t5vqvae promote STUDY` registers it" in capsys.readouterr().err
