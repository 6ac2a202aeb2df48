"""The files for Docker, virtual machines and SLURM are what the programs that read them take, and agree."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import subprocess
import time
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from places import ROOT
from programs import program

CLUSTER = ROOT / "cluster"
SECRETS = ("RAY_AUTH_TOKEN", "POSTGRES_PASSWORD", "S3_KEY", "S3_SECRET", "GRAFANA_PASSWORD")
OWN = ("head", "worker", "mlflow")
"""The services of our own image."""


def documents(path: Path) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def compose_config(*without: str, file: Path = CLUSTER / "docker-compose.yaml") -> subprocess.CompletedProcess[str]:
    """Asks docker-compose for the whole of its file, with secrets in the environment, but for some."""
    command = [program("docker-compose", "Debian: docker-compose"), "-f", str(file), "config"]
    known = {name: value for name, value in os.environ.items() if name not in SECRETS}
    secrets = {name: f"secret-{name.lower()}" for name in SECRETS if name not in without}
    return subprocess.run(command, env={**known, **secrets}, capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    done = compose_config()
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = yaml.safe_load(done.stdout)["services"]
    return found


@pytest.mark.parametrize("name", SECRETS)
def test_docker_compose_starts_nothing_without_a_secret(name: str) -> None:
    done = compose_config(name)
    assert done.returncode and "secrets.env" in done.stderr


def test_docker_compose_refuses_a_field_that_services_do_not_have(tmp_path: Path) -> None:
    text = (CLUSTER / "docker-compose.yaml").read_text()
    spoilt = tmp_path / "docker-compose.yaml"
    spoilt.write_text(text.replace("network_mode: service:head", "networkmode: service:head", 1))
    done = compose_config(file=spoilt)
    assert done.returncode and "networkmode" in done.stderr


def test_the_command_at_the_top_makes_all_secrets() -> None:
    [names] = re.findall(r"for name in (.+); do", (CLUSTER / "docker-compose.yaml").read_text())
    assert names.split() == list(SECRETS)


def test_compose_services_are_complete_pinned_and_on_loopback(services: dict[str, Any]) -> None:
    assert set(services) == {*OWN, "postgres", "s3", "prometheus", "grafana"}
    for name, service in services.items():
        assert re.search(r":v?\d+\.\d+(\.\d+)?$", service["image"]), name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert not source.startswith("/") or Path(source).exists(), f"{name}: {source}"
    for name in OWN:
        assert services[name]["cap_drop"] == ["ALL"] and "user" not in services[name], name
        build = services[name]["build"]
        assert (Path(build["context"]) / build["dockerfile"]).is_file()


def test_compose_services_wait_for_those_that_say_when_they_are_ready(services: dict[str, Any]) -> None:
    waits = {(name, awaited, how) for name, awaited, how in _waits(services)}
    assert {("head", "mlflow"), ("mlflow", "postgres"), ("mlflow", "s3")} <= {wait[:2] for wait in waits}
    assert all("healthcheck" in services[awaited] for _, awaited, how in waits if how == "service_healthy")


def _waits(services: dict[str, Any]) -> list[tuple[str, str, str]]:
    found = []
    for name, service in services.items():
        given = service.get("depends_on", {})
        pairs = given.items() if isinstance(given, dict) else ((one, {}) for one in given)
        found += [(name, awaited, options.get("condition", "service_started")) for awaited, options in pairs]
    return found


def test_nodes_share_state_token_and_server(services: dict[str, Any]) -> None:
    head, worker = services["head"], services["worker"]
    assert head["environment"] == worker["environment"] and head["volumes"] == worker["volumes"]
    assert head["environment"]["RAY_AUTH_MODE"] == "token" and head["environment"]["T5VQVAE_STATE"] == "/state"
    assert "state:/state:rw" in head["volumes"]


def test_grafana_finds_prometheus_and_the_boards(services: dict[str, Any]) -> None:
    folder = ROOT / "dashboards" / "grafana"
    [source] = documents(folder / "provisioning" / "datasources" / "prometheus.yml")[0]["datasources"]
    assert source["url"] == "http://127.0.0.1:9090"  # which is in the network that the two share with the head
    assert services["grafana"]["network_mode"] == services["prometheus"]["network_mode"] == "service:head"
    assert {port.split(":")[1] for port in services["head"]["ports"]} == {"8265", "9090", "3000"}
    [provider] = documents(folder / "provisioning" / "dashboards" / "t5vqvae.yml")[0]["providers"]
    assert provider["options"]["path"] == "${T5VQVAE_DASHBOARDS}"
    place = services["grafana"]["environment"]["T5VQVAE_DASHBOARDS"]
    assert f"{folder}:{place}:ro" in services["grafana"]["volumes"]
    assert f"{folder / 'provisioning'}:/etc/grafana/provisioning:ro" in services["grafana"]["volumes"]


def test_prometheus_takes_its_file_and_finds_the_drivers_of_the_state(tmp_path: Path, services: dict[str, Any]) -> None:
    promtool = program("promtool", "Debian: prometheus")
    for path in (CLUSTER / "prometheus.yaml", *(ROOT / "dashboards" / "prometheus").glob("*s.yml")):
        shutil.copy(path, tmp_path)
    check = [promtool, "check", "config"]
    subprocess.run([*check, tmp_path / "prometheus.yaml"], check=True, capture_output=True)
    text = (CLUSTER / "prometheus.yaml").read_text()
    (tmp_path / "spoilt.yaml").write_text(text.replace("honor_labels", "honour_labels"))
    assert subprocess.run([*check, tmp_path / "spoilt.yaml"], capture_output=True).returncode
    mounts = {volume.split(":")[1] for volume in services["prometheus"]["volumes"]}
    assert {"/etc/prometheus/rules.yml", "/etc/prometheus/alerts.yml", "/state"} <= mounts
    assert f"{services['head']['environment']['T5VQVAE_STATE']}/prometheus/targets/*.json" in text
    for name in ("head", "worker"):
        assert "--metrics-export-port 8080" in services[name]["command"]


def test_the_store_gets_its_login_and_its_buckets(tmp_path: Path, services: dict[str, Any]) -> None:
    store = services["s3"]
    stub = tmp_path / "weed"
    body = f'if [ "$1" = shell ]; then cat > {tmp_path}/made; else echo "$@" > {tmp_path}/server; fi'
    stub.write_text(f"#!/bin/sh\n{body}\n")
    stub.chmod(0o755)
    [script] = store["command"]
    script = script.replace("$$", "$").replace("/tmp/s3.json", f"{tmp_path}/s3.json")
    environment = {**store["environment"], "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run([*store["entrypoint"], script], env=environment, check=True, timeout=20)
    [identity] = json.loads((tmp_path / "s3.json").read_text())["identities"]
    user = services["mlflow"]["environment"]
    assert identity["credentials"] == [
        {"accessKey": user["AWS_ACCESS_KEY_ID"], "secretKey": user["AWS_SECRET_ACCESS_KEY"]}
    ]
    assert f"-s3.config={tmp_path}/s3.json" in (tmp_path / "server").read_text()
    for _ in range(50):  # the buckets are made behind the server, which runs on
        if (tmp_path / "made").exists() and (tmp_path / "made").read_text():
            break
        time.sleep(0.1)
    assert set(re.findall(r"create -name (\w+)", (tmp_path / "made").read_text())) == {"artifacts", "studies"}
    assert "s3://artifacts/" in services["mlflow"]["command"]


@pytest.fixture(scope="module")
def ray_up() -> dict[str, Any]:
    [config] = documents(CLUSTER / "ray-up.yaml")
    return config


def test_ray_up_accepts_its_file(ray_up: dict[str, Any]) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(copy.deepcopy(ray_up)))
    with pytest.raises(jsonschema.ValidationError, match="max_worker"):
        validate_config(prepare_config({**ray_up, "max_worker": 3}))


def test_ray_up_runs_shell_with_a_token_and_postgresql(ray_up: dict[str, Any]) -> None:
    starts = {name: ray_up[f"{name}_start_ray_commands"] for name in ("head", "worker")}
    commands = [*ray_up["setup_commands"], *ray_up["head_setup_commands"], *starts["head"], *starts["worker"]]
    for command in commands:
        subprocess.run(["bash", "-n", "-c", command], check=True)
    for name, start in starts.items():
        assert "RAY_AUTH_MODE=token" in start[-1] and "T5VQVAE_STATE=/state" in start[-1], name
        assert re.search(r"MLFLOW_TRACKING_URI=http://\S", start[-1]), name
    assert ray_up["file_mounts"]["/home/ubuntu/.ray/auth_token"] == "~/.ray/auth_token"
    [server] = [command for command in starts["head"] if "mlflow server" in command]
    assert "--backend-store-uri postgresql+psycopg:///mlflow" in server
    assert "sqlite:" not in "".join(commands)
    databases = re.findall(r"createdb --owner ubuntu (\w+)", "\n".join(commands))
    assert databases == ["mlflow", "trials"]
    assert "storage=postgresql:///trials" in (CLUSTER / "ray-up.yaml").read_text()


def test_ray_up_tells_a_search_what_may_come(ray_up: dict[str, Any]) -> None:
    [told] = json.loads(re.findall(r"T5VQVAE_NODE_TYPES='(.*?)'", ray_up["head_start_ray_commands"][-1])[0])
    assert told == {"CPU": 8, "GPU": 1, "max": ray_up["available_node_types"]["gpu"]["max_workers"]}  # a g6.2xlarge


def test_ray_up_names_the_system_of_its_machines(ray_up: dict[str, Any]) -> None:
    """Ray's own choice, without the name, is Ubuntu 18.04, which has no Python that fits."""
    images = {node["node_config"].get("ImageId", "") for node in ray_up["available_node_types"].values()}
    assert len(images) == 1 and images.pop().startswith("ami-")


def slurm(tmp_path: Path, **settings: str) -> tuple[list[str], dict[str, str]]:
    """Runs the script where `scontrol`, `srun` and `ray` only note what they were given; returns srun's words."""
    bin_folder = tmp_path / ".venv" / "bin"
    bin_folder.mkdir(parents=True)
    notes = {
        "scontrol": 'printf "node%s\\n" 7 8',
        "srun": 'printf "%s\\n" "$@" > srun.txt; env > env.txt',
        "ray": 'echo "$@" >> ray.txt',
    }
    for name, body in notes.items():
        (bin_folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (bin_folder / name).chmod(0o755)
    known = {"PATH": f"{bin_folder}:{os.environ['PATH']}", "SLURM_CPUS_PER_TASK": "32", **settings}
    known |= {"SLURM_JOB_NODELIST": "node[7-8]", "SLURM_NNODES": "2"}
    command = ["bash", str(CLUSTER / "slurm.sh"), "tune/studies/paper.yaml", "name=a study"]
    subprocess.run(command, cwd=tmp_path, env=known, check=True, timeout=20)
    assert (tmp_path / "ray.txt").read_text() == "get-auth-token --generate\n"
    environment = dict(line.split("=", 1) for line in (tmp_path / "env.txt").read_text().splitlines() if "=" in line)
    return (tmp_path / "srun.txt").read_text().splitlines(), environment


def test_the_slurm_script_starts_ray_on_all_nodes_with_the_first_as_head(tmp_path: Path) -> None:
    words, environment = slurm(tmp_path, SLURM_GPUS_ON_NODE="4")
    start = "--cpus-per-task=32 ray symmetric-run --address node7:6379 --min-nodes 2 --num-cpus 32 --num-gpus 4"
    assert words == [*start.split(), "--", "python", "tune/search.py", "tune/studies/paper.yaml", "name=a study"]
    assert environment["RAY_AUTH_MODE"] == "token" and environment["T5VQVAE_STATE"] == f"{tmp_path}/var"


def test_the_slurm_script_runs_without_gpus(tmp_path: Path) -> None:
    words, _ = slurm(tmp_path)
    assert words[words.index("--num-gpus") + 1] == "0"


def test_our_image_has_the_version_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    texts = [path.read_text() for path in CLUSTER.rglob("*") if path.suffix in (".yaml", "") and path.is_file()]
    assert {tag for text in texts for tag in re.findall(r"t5vqvae:(\d\S+)", text)} == {project["version"]}


def test_one_service_has_one_image_everywhere() -> None:
    texts = "".join(path.read_text() for path in CLUSTER.rglob("*.yaml"))
    images: dict[str, set[str]] = {}
    for name, tag in re.findall(r"image: ([\w/]+):(\S+)", texts):
        images.setdefault(name, set()).add(tag)
    assert {name: tags for name, tags in images.items() if len(tags) > 1} == {} and len(images) == 5


def test_the_studies_that_manifests_name_exist() -> None:
    texts = [path.read_text() for path in CLUSTER.rglob("*") if path.suffix in (".yaml", ".sh", ".md")]
    studies = {study for text in texts for study in re.findall(r"tune/studies/\S+\.yaml", text)}
    named = {name for text in texts for name in re.findall(r"t5vqvae search (\w+)", text)}
    assert studies and named
    assert [study for study in sorted(studies) if not (ROOT / study).is_file()] == []
    assert [name for name in sorted(named) if not (ROOT / "tune" / "studies" / f"{name}.yaml").is_file()] == []


def test_the_readme_names_every_file() -> None:
    text = (CLUSTER / "README.md").read_text()
    here = [path.name for path in CLUSTER.iterdir() if path.is_file() and path.suffix != ".py"]
    kuberay = [f"kuberay/{path.name}" for path in (CLUSTER / "kuberay").iterdir()]
    assert [name for name in [*here, *kuberay] if name != "README.md" and name not in text] == []
