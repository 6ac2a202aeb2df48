"""The manifests of real clusters match the schemas of the programs that read them."""

from __future__ import annotations

import copy
import json
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from places import ROOT, SHARED_DATA

from tune.execution.capacity import VARIABLE

CLUSTER = ROOT / "cluster"
DEFINITIONS = SHARED_DATA / "kuberay"
KUBERAY = {"raycluster.yaml": "rayclusters.yaml", "rayjob.yaml": "rayjobs.yaml"}
VERSION = "1.33"


def documents(path: Path) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def strict(schema: Any) -> Any:
    """Returns the schema with unknown fields forbidden wherever it lists the known ones."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: strict(part) for key, part in schema.items()}
    if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        schema.setdefault("additionalProperties", False)
    if schema.get("x-kubernetes-int-or-string"):
        schema.pop("type", None)
    return schema


@pytest.fixture(scope="module", params=sorted(KUBERAY))
def kuberay(request) -> tuple[dict[str, Any], jsonschema.Draft7Validator]:
    """Returns a KubeRay manifest and the strict validator of its kind."""
    if not DEFINITIONS.is_dir():
        pytest.skip(f"{DEFINITIONS} is missing; it holds KubeRay's custom resource definitions")
    [definition] = documents(DEFINITIONS / KUBERAY[request.param])
    [version] = [v for v in definition["spec"]["versions"] if v["name"] == "v1"]
    schema = strict(version["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}
    [manifest] = documents(CLUSTER / "kuberay" / request.param)
    assert manifest["apiVersion"] == "ray.io/v1"
    assert manifest["kind"] == definition["spec"]["names"]["kind"]
    return manifest, jsonschema.Draft7Validator(schema)


def test_kuberay_manifests_fit_their_definitions(kuberay) -> None:
    manifest, validator = kuberay
    assert [error.message for error in validator.iter_errors(manifest)] == []


def test_a_misspelt_field_deep_in_a_manifest_is_found(kuberay) -> None:
    manifest, validator = copy.deepcopy(kuberay[0]), kuberay[1]
    [container] = containers(manifest["spec"], group="workerGroupSpecs")
    container["volumeMount"] = container.pop("volumeMounts")
    assert any("volumeMount" in error.message for error in validator.iter_errors(manifest))


def containers(spec: dict[str, Any], group: str) -> list[dict[str, Any]]:
    spec = spec.get("rayClusterSpec", spec)
    groups = spec[group] if isinstance(spec[group], list) else [spec[group]]
    return [container for one in groups for container in one["template"]["spec"]["containers"]]


@pytest.mark.parametrize("name", sorted(KUBERAY))
def test_every_node_of_a_cluster_sees_the_same_state_and_server(name: str) -> None:
    [manifest] = documents(CLUSTER / "kuberay" / name)
    nodes = [*containers(manifest["spec"], "headGroupSpec"), *containers(manifest["spec"], "workerGroupSpecs")]
    assert len(nodes) == 2
    assert nodes[0]["env"] == nodes[1]["env"]
    assert {"name": "state", "mountPath": "/state"} in nodes[0]["volumeMounts"]
    assert nodes[0]["volumeMounts"] == nodes[1]["volumeMounts"]


def core_objects() -> Iterator[Any]:
    for name in ("storage.yaml", "mlflow.yaml"):
        for document in documents(CLUSTER / "kuberay" / name):
            yield pytest.param(document, id=f"{document['kind']}-{document['metadata']['name']}")


@pytest.mark.parametrize("document", core_objects())
def test_core_objects_fit_kubernetes(document: dict[str, Any]) -> None:
    import kubernetes_validate

    kubernetes_validate.validate(document, VERSION, strict=True)


def test_the_claims_and_services_that_pods_name_exist() -> None:
    objects = [d for path in sorted((CLUSTER / "kuberay").glob("*.yaml")) for d in documents(path)]
    defined = {(d["kind"], d["metadata"]["name"]) for d in objects}
    text = "".join(path.read_text() for path in (CLUSTER / "kuberay").glob("*.yaml"))
    claims = {part.split("}")[0].strip() for part in text.split("claimName:")[1:]}
    assert claims
    assert {("PersistentVolumeClaim", claim) for claim in claims} <= defined
    assert {("Service", "mlflow"), ("Service", "mlflow-postgres")} <= defined
    templates = {d["metadata"]["name"]: d["spec"]["template"] for d in objects if "template" in d["spec"]}
    for service in (d for d in objects if d["kind"] == "Service"):
        labels = templates[service["metadata"]["name"]]["metadata"]["labels"]
        assert labels == service["spec"]["selector"]


def test_ray_up_accepts_its_file() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    [config] = documents(CLUSTER / "ray-up.yaml")
    validate_config(prepare_config(copy.deepcopy(config)))
    with pytest.raises(jsonschema.ValidationError, match="max_worker"):
        validate_config(prepare_config({**config, "max_worker": 3}))


def workers_of(cluster: dict[str, Any]) -> list[dict[str, int]]:
    """Returns the node types of a KubeRay cluster as a search reads them."""
    found = []
    for group in cluster["workerGroupSpecs"]:
        limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        found.append({"CPU": int(limits["cpu"]), "GPU": int(limits["nvidia.com/gpu"]), "max": group["maxReplicas"]})
    return found


@pytest.mark.parametrize("name", sorted(KUBERAY))
def test_a_search_learns_which_nodes_may_come(name: str) -> None:
    [manifest] = documents(CLUSTER / "kuberay" / name)
    cluster = manifest["spec"].get("rayClusterSpec", manifest["spec"])
    head = cluster["headGroupSpec"]["template"]["spec"]["containers"][0]
    assert [json.loads(one["value"]) for one in head["env"] if one["name"] == VARIABLE] == [workers_of(cluster)]


def test_the_head_of_ray_up_names_the_nodes_that_may_come() -> None:
    [config] = documents(CLUSTER / "ray-up.yaml")
    [words] = [shlex.split(line) for line in config["head_start_ray_commands"] if "--head" in line]
    [types] = [json.loads(word.partition("=")[2]) for word in words if word.startswith(f"{VARIABLE}=")]
    assert [one["max"] for one in types] == [config["available_node_types"]["gpu"]["max_workers"]]


def test_compose_services_fit_together() -> None:
    [compose] = documents(CLUSTER / "docker-compose.yaml")
    services = compose["services"]
    for name, service in services.items():
        assert set(service.get("depends_on", [])) <= set(services), name
        assert all(volume.split(":")[0] in compose["volumes"] for volume in service.get("volumes", [])), name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        if "build" in service:
            assert (CLUSTER / service["build"]["context"] / service["build"]["dockerfile"]).is_file(), name
    awaited = [n for s in services.values() if isinstance(s.get("depends_on"), dict) for n in s["depends_on"]]
    assert all("healthcheck" in services[name] for name in awaited)
    for name in ("head", "worker"):
        assert services[name]["environment"]["T5VQVAE_STATE"] == "/state"


def test_images_and_versions_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    [ray] = re.findall(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    texts = {path.name: path.read_text() for path in CLUSTER.rglob("*.yaml")}
    texts["Dockerfile"] = (CLUSTER / "Dockerfile").read_text()
    tags = {tag for text in texts.values() for tag in re.findall(r"t5vqvae:(\d\S+)", text)}
    assert tags == {project["version"]}
    assert all(f"rayVersion: {ray}\n" in texts[name] for name in KUBERAY)


def test_the_studies_that_manifests_name_exist() -> None:
    texts = [path.read_text() for path in CLUSTER.rglob("*") if path.suffix in (".yaml", ".sh")]
    studies = {study for text in texts for study in re.findall(r"tune/studies/\S+\.yaml", text)}
    assert studies
    assert [study for study in sorted(studies) if not (ROOT / study).is_file()] == []


def test_the_dockerfile_copies_files_that_exist_and_are_not_ignored() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copies = [
        line.split()[2:-1] for line in (CLUSTER / "Dockerfile").read_text().splitlines() if line.startswith("COPY")
    ]
    names = {name for words in copies for name in words}
    assert names == allowed
    assert all((ROOT / name).exists() for name in names)


def test_the_slurm_script_parses() -> None:
    subprocess.run(["bash", "-n", str(CLUSTER / "slurm.sh")], check=True)
