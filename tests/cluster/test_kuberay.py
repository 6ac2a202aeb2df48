"""What kustomize builds from `cluster/kuberay` is what Kubernetes and KubeRay take, is closed, and fits together."""

from __future__ import annotations

import copy
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes_objects import Thing, built, faults, named, pods, read
from places import ROOT

KUBERAY = ROOT / "cluster" / "kuberay"
FOLDERS = sorted(path.parent.name for path in KUBERAY.glob("*/kustomization.yaml") if path.parent.name != "pods")
RAY = ("head-fault-tolerance", "raycluster", "rayjob", "rayservice")
BY_OPERATOR = {"ray.io/node-type": "head"}
"""A label that KubeRay gives a head."""
STUDIES = ROOT / "tune" / "studies"


def everything() -> list[Thing]:
    return [thing for folder in FOLDERS for thing in built(KUBERAY / folder)]


def all_pods() -> dict[str, Thing]:
    return {
        f"{folder}:{name}": pod for folder in FOLDERS for thing in built(KUBERAY / folder) for name, pod in pods(thing)
    }


def ray_pods(thing: Thing) -> list[Thing]:
    return [pod for name, pod in pods(thing) if not name.endswith("submitterPodTemplate")]


@pytest.mark.parametrize("folder", FOLDERS)
def test_what_is_built_is_taken(folder: str) -> None:
    things = built(KUBERAY / folder)
    assert {named(thing): found for thing in things if (found := faults(thing))} == {}
    assert len({named(thing) for thing in things}) == len(things) > 0


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_field_that_a_kind_does_not_have_is_refused_anywhere(folder: str) -> None:
    for thing in built(KUBERAY / folder):
        for place in places(thing):
            spoilt = copy.deepcopy(thing)
            inside: Any = spoilt
            for step in place:
                inside = inside[step]
            inside["unknownField"] = 1
            assert any("unknownField" in fault for fault in faults(spoilt)), (named(thing), place)


def places(thing: Thing) -> Iterator[tuple[Any, ...]]:
    """Yields where a field is planted: in the object's spec, and in its last pod's last container."""
    if "spec" in thing:
        yield ("spec",)
    paths = [path for path in containers(thing, ())]
    if paths:
        yield paths[-1]


def containers(part: Any, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    steps = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    for step, value in steps:
        if step == "containers":
            yield from ((*path, step, number) for number in range(len(value)))
        yield from containers(value, (*path, step))


def test_no_pod_is_root_writes_its_image_or_floats() -> None:
    for name, pod in all_pods().items():
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] and spec["securityContext"]["runAsUser"] > 0, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in spec["containers"]:
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"] and security["allowPrivilegeEscalation"] is False, name
            assert security["capabilities"] == {"drop": ["ALL"]}, name
            assert "/tmp" in {mount["mountPath"] for mount in container["volumeMounts"]}, name
            assert re.search(r":\d+\.\d+(\.\d+)?$", container["image"]), name
            assert container["resources"]["limits"]["memory"], name


def test_only_the_head_may_talk_to_kubernetes() -> None:
    talking = [name for name, pod in all_pods().items() if pod["spec"].get("automountServiceAccountToken") is not False]
    assert talking and all("headGroupSpec" in name for name in talking)  # its autoscaler asks for pods


def test_what_the_operator_does_not_probe_has_probes() -> None:
    own = [pod for thing in everything() if thing["kind"] in ("Deployment", "StatefulSet") for _, pod in pods(thing)]
    assert len(own) == 2
    for pod in own:
        assert all({"readinessProbe", "livenessProbe"} <= container.keys() for container in pod["spec"]["containers"])


@pytest.mark.parametrize("folder", RAY)
def test_a_cluster_asks_for_its_token_and_grows_from_its_head(folder: str) -> None:
    [thing] = [one for one in built(KUBERAY / folder) if one["kind"].startswith("Ray")]
    spec = thing["spec"].get("rayClusterSpec") or thing["spec"].get("rayClusterConfig") or thing["spec"]
    assert spec["authOptions"] == {"mode": "token"} and spec["enableInTreeAutoscaling"]
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    least = {group["groupName"]: group["minReplicas"] for group in spec["workerGroupSpecs"]}
    assert least == ({"gpu": 1, "cpu": 0} if folder == "rayjob" else {"gpu": 0, "cpu": 0})
    assert all(group["replicas"] == least[group["groupName"]] for group in spec["workerGroupSpecs"])
    assert ("gcsFaultToleranceOptions" in spec) == (folder == "head-fault-tolerance")
    [ray] = re.findall(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert spec["rayVersion"] == ray


@pytest.mark.parametrize("folder", RAY)
def test_every_node_sees_the_same_state_and_server(folder: str) -> None:
    [thing] = [one for one in built(KUBERAY / folder) if one["kind"].startswith("Ray")]
    nodes = [pod["spec"]["containers"][0] for pod in ray_pods(thing)]
    assert len(nodes) == 3
    assert {"name": "state", "mountPath": "/state"} in nodes[0]["volumeMounts"]
    assert all(node["env"] == nodes[0]["env"] and node["volumeMounts"] == nodes[0]["volumeMounts"] for node in nodes)


@pytest.mark.parametrize("folder", RAY)
def test_a_search_is_told_what_may_come(folder: str) -> None:
    [thing] = [one for one in built(KUBERAY / folder) if one["kind"].startswith("Ray")]
    spec = thing["spec"].get("rayClusterSpec") or thing["spec"].get("rayClusterConfig") or thing["spec"]
    [head] = spec["headGroupSpec"]["template"]["spec"]["containers"]
    [types] = [json.loads(one["value"]) for one in head["env"] if one["name"] == "T5VQVAE_NODE_TYPES"]
    for told, group in zip(types, spec["workerGroupSpecs"], strict=True):
        [node] = group["template"]["spec"]["containers"]
        limits = {
            name.removeprefix("nvidia.com/").upper(): value for name, value in node["resources"]["limits"].items()
        }
        del limits["MEMORY"]
        assert told == {name: int(value) for name, value in limits.items()} | {"max": group["maxReplicas"]}


def test_selectors_find_pods_and_named_ports_are_theirs() -> None:
    found = list(all_pods().values())
    for thing in everything():
        spec = thing.get("spec", {})
        if thing["kind"] == "Service":
            matched = [pod for pod in found if selects({"matchLabels": spec["selector"]}, pod)]
            wanted = [port["targetPort"] for port in spec["ports"]]
        elif thing["kind"] == "NetworkPolicy":
            matched = [pod for pod in found if selects(spec["podSelector"], pod)]
            wanted = [port["port"] for rule in spec["ingress"] for port in rule.get("ports", [])]
            own = [peer for rule in spec["ingress"] for peer in rule["from"] if "namespaceSelector" not in peer]
            assert all(any(selects(peer["podSelector"], pod) for pod in found) for peer in own), named(thing)
        elif thing["kind"] == "PodDisruptionBudget":
            matched, wanted = [pod for pod in found if selects(spec["selector"], pod)], []
        else:
            continue
        assert matched, named(thing)
        ports = {port["name"] for pod in matched for one in pod["spec"]["containers"] for port in one.get("ports", [])}
        assert set(wanted) <= ports, named(thing)


def selects(selector: Thing, pod: Thing) -> bool:
    labels = {**pod["metadata"]["labels"], **BY_OPERATOR}
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()) and all(
        labels.get(rule["key"]) in rule["values"] for rule in selector.get("matchExpressions", [])
    )


def test_every_pod_is_behind_a_policy() -> None:
    policies = [thing["spec"]["podSelector"] for thing in everything() if thing["kind"] == "NetworkPolicy"]
    assert [name for name, pod in all_pods().items() if not any(selects(one, pod) for one in policies)] == []


def test_claims_exist_and_the_commands_at_the_top_make_the_secrets() -> None:
    claims = {thing["metadata"]["name"] for thing in everything() if thing["kind"] == "PersistentVolumeClaim"}
    text = yaml.safe_dump(list(all_pods().values()))
    assert set(re.findall(r"claimName: (\S+)", text)) == claims
    commands = "".join(path.read_text() for path in KUBERAY.glob("*/kustomization.yaml")).replace("\\\n#", "")
    made = {
        (name, key)
        for name, words in re.findall(r"create secret generic (\S+)(.*)", commands)
        for key in re.findall(r"--from-literal=(\w+)=", words)
    }
    assert set(re.findall(r"secretKeyRef:\s+key: (\S+)\s+name: (\S+)", text)) == {(key, name) for name, key in made}


def test_prometheus_finds_the_ports_that_its_monitor_names() -> None:
    [monitor] = read((ROOT / "dashboards" / "kubernetes" / "pod-monitor.yaml").read_text())
    wanted = {endpoint["port"] for endpoint in monitor["spec"]["podMetricsEndpoints"]}
    heads = [pod for name, pod in all_pods().items() if "headGroupSpec" in name]
    assert heads and all(
        wanted <= {port["name"] for one in pod["spec"]["containers"] for port in one["ports"]} for pod in heads
    )


def test_the_job_searches_a_study_that_is_there_with_its_trials_in_the_database() -> None:
    from tune.spec.search_spec import SearchSpec

    [job] = built(KUBERAY / "rayjob")
    *command, study, storage = job["spec"]["entrypoint"].split()
    assert command == ["t5vqvae", "search"] and (STUDIES / f"{study}.yaml").is_file()
    spec = SearchSpec.load(study, [storage])
    assert spec.storage == "postgresql://trials@postgres/trials"


def test_ray_serve_and_the_application_take_the_settings_of_the_service() -> None:
    from ray.serve.schema import ServeDeploySchema

    from tune.operations import ray_app

    [service] = [thing for thing in built(KUBERAY / "rayservice") if thing["kind"] == "RayService"]
    values = yaml.safe_load(service["spec"]["serveConfigV2"])
    [application] = ServeDeploySchema.model_validate(values).applications
    assert application.model_dump(exclude_unset=True) == values["applications"][0]  # what is unknown would be left out
    assert application.import_path == f"{ray_app.__name__}:{ray_app.application.__name__}"
    settings = ray_app.RayServed.parse(application.args)
    groups = {group["groupName"]: group for group in service["spec"]["rayClusterConfig"]["workerGroupSpecs"]}
    [node] = groups["cpu"]["template"]["spec"]["containers"]
    assert settings.threads == int(node["resources"]["limits"]["cpu"]) and settings.replicas > 1
    for pod in ray_pods(service):
        assert "T5VQVAE_TOKEN" in {one["name"] for one in pod["spec"]["containers"][0]["env"]}


def test_one_line_takes_the_image_from_another_registry(tmp_path: Path) -> None:
    values = {
        "resources": [os.path.relpath(KUBERAY / folder, tmp_path) for folder in FOLDERS if folder not in RAY[:1]],
        "images": [{"name": "t5vqvae", "newName": "registry.example/t5vqvae", "newTag": "9.9.9"}],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(values))
    images = [one["image"] for thing in built(tmp_path) for _, pod in pods(thing) for one in pod["spec"]["containers"]]
    assert len(images) == 12 and {one for one in images if "t5vqvae" in one} == {"registry.example/t5vqvae:9.9.9"}
