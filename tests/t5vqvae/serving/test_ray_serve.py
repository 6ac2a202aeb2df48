"""The application on a local Ray: a model is asked through Ray Serve's proxy, and its replicas count together."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from promotions import save_checkpoint
from served import ask, counts

from t5vqvae.errors import SettingError
from t5vqvae.latent.latent_space import LatentSpace
from t5vqvae.models.contract import load_model
from t5vqvae.training.checkpoint import read_spec

TEXTS = ["x + y", "\\cos{x}"]
STEP = "step-00000002"


def test_a_wrong_setting_is_refused_before_ray_is_asked() -> None:
    from tune.operations.ray_app import application

    with pytest.raises(SettingError, match="replica is unknown; did you mean replicas"):
        application({"model": "m", "replica": 2})
    with pytest.raises(SettingError, match="model is missing"):
        application({})
    with pytest.raises(SettingError, match="token cannot be given here, where others read it; set T5VQVAE_TOKEN"):
        application({"model": "m", "token": "secret"})


def test_a_model_that_is_not_there_is_refused_before_ray_is_asked(tmp_path: Path) -> None:
    from tune.operations.ray_app import application

    with pytest.raises(SettingError, match=f"there is no study nope under {tmp_path}"):
        application({"model": "nope", "state": tmp_path})
    with pytest.raises(SettingError, match="there is no MLflow database"):
        application({"model": "models:/t5vqvae@champion", "state": tmp_path})


@pytest.mark.ray
@pytest.mark.skipif(find_spec("grpc_reflection") is None and not os.environ.get("CI"), reason="needs ray[serve]")
def test_ray_s_command_says_what_is_wrong_in_one_line(tmp_path: Path) -> None:
    from click.testing import CliRunner
    from ray.serve.scripts import cli

    words = ["run", "tune.operations.ray_app:application", f"state={tmp_path}", "model=nope", "modle=nope"]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 2 and "Traceback" not in done.output
    assert "Error: modle is unknown; did you mean model?\n" in done.output


@pytest.mark.ray
@pytest.mark.skipif(find_spec("ray") is None and not os.environ.get("CI"), reason="needs ray[serve]")
def test_replicas_know_the_tracking_server_of_the_driver(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tune.operations.ray_app import application

    def variables() -> dict[str, str]:
        options = application({"model": str(checkpoint)})._bound_deployment.ray_actor_options
        given: dict[str, str] = options["runtime_env"]["env_vars"]
        return given

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert "MLFLOW_TRACKING_URI" not in variables()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert variables()["MLFLOW_TRACKING_URI"] == "http://127.0.0.1:5000"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    assert variables()["MLFLOW_TRACKING_URI"] == f"sqlite:///{tmp_path}/mlflow.db", "replicas have another folder"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    state = tmp_path_factory.mktemp("state")
    save_checkpoint(state, "first")
    return state / "first" / STEP


@pytest.fixture
def url(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of two replicas with a token, on a Ray of the test's own."""
    import ray
    from ray import serve

    from tune.operations.ray_app import application

    monkeypatch.setenv("T5VQVAE_TOKEN", "secret")
    # Ray keeps the first mode of a process: every Ray that tests start inside pytest has the same one.
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    ray.init("local", num_cpus=4, include_dashboard=False, log_to_driver=False)
    try:
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        built = application({"model": str(checkpoint), "replicas": "2", "max_texts": "4"})
        serve.run(built, name="t5vqvae", route_prefix="/")
        yield f"http://127.0.0.1:{port}"
        serve.shutdown()
    finally:
        ray.shutdown()


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.skipif(find_spec("grpc_reflection") is None and not os.environ.get("CI"), reason="needs ray[serve]")
def test_a_local_ray_serves_the_model_and_counts_over_replicas(url: str, checkpoint: Path) -> None:
    space = LatentSpace(load_model(checkpoint / "model"), read_spec(checkpoint).max_new_tokens)
    expected = space.reconstruct(space.encode(TEXTS))
    token = {"Authorization": "Bearer secret"}
    workers, before = set[int](), dict[str, float]()
    for number in range(1, 31):
        status, found = ask(f"{url}/reconstruct", {"texts": TEXTS}, **token)
        assert status == 200 and [each["text"] for each in found["answers"]] == expected
        workers.add(ask(f"{url}/health")[1]["worker"])
        now = counts(url)
        assert now['t5vqvae_serve_requests_total{route="/reconstruct",status="200"}'] == number
        assert not [name for name, value in before.items() if "_total" in name and now[name] < value]
        before = now
    assert len(workers) == 2, "both replicas answered"
    assert ask(f"{url}/reconstruct", {"texts": TEXTS})[0] == 401
    status, found = ask(f"{url}/reconstruct", {"texts": TEXTS * 3}, **token)
    assert status == 400 and "6 sentences are more than the 4 of a request" in found["error"]
    assert ask(f"{url}/openapi.json", None, **token)[1]["paths"]["/reconstruct"]
