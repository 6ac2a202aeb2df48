"""The model registry: the versions of one registered model, found by their content, and its aliases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from t5vqvae.tracking.server.connection import live_uri, translated
from t5vqvae.tracking.server.destination import Destination
from t5vqvae.tracking.server.limits import as_tags

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

IDENTITY = "t5vqvae.identity"


@dataclass(frozen=True)
class Version:
    """A version of a registered model.

    Attributes:
        version: Its number.
        mlflow_id: MLflow's id of the run that trained it; empty if it was registered without a run.
        tags: Its tags.
    """

    version: str
    mlflow_id: str
    tags: Mapping[str, str]


class Registry:
    """One registered model; MLflow creates it with its first version.

    Args:
        destination: The server.
        name: The name of the registered model.
    """

    def __init__(self, destination: Destination, name: str) -> None:
        self.destination = destination
        self.name = name

    def by_alias(self, alias: str) -> Version | None:
        """Returns the version that an alias points to, or None."""
        from mlflow.exceptions import MlflowException

        with translated(self.destination.uri):
            try:
                return _version(self.destination.client.get_model_version_by_alias(self.name, alias))
            except MlflowException as error:
                if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                    return None
                raise

    def aliases(self) -> dict[str, str] | None:
        """Returns the version of every alias; None if no model is registered under the name."""
        from mlflow.exceptions import MlflowException

        with translated(self.destination.uri):
            try:
                found = self.destination.client.get_registered_model(self.name).aliases
                return {alias: str(version) for alias, version in found.items()}
            except MlflowException as error:
                if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                    return None
                raise

    def versions(self) -> dict[str, Version]:
        """Returns all versions by their numbers."""
        with translated(self.destination.uri):
            found = self.destination.client.search_model_versions(f"name = '{self.name}'")
            return {str(version.version): _version(version) for version in found}

    def download(self, version: Version, into: Path) -> Path:
        """Copies the MLflow model of a version into a folder; returns the copy."""
        from mlflow.artifacts import download_artifacts

        uri = live_uri(self.destination.uri)
        with translated(uri):
            source = self.destination.client.get_model_version_download_uri(self.name, version.version)
            return Path(download_artifacts(artifact_uri=source, dst_path=str(into), tracking_uri=uri))

    def find(self, identity: str) -> Version | None:
        """Returns the newest version with an identity, or None."""
        with translated(self.destination.uri):
            found = self.destination.client.search_model_versions(
                f"name = '{self.name}' AND tags.`{IDENTITY}` = '{identity}'"
            )
            versions = sorted(found, key=lambda version: int(version.version))
            return _version(versions[-1]) if versions else None

    def register(
        self, model_uri: str, mlflow_id: str, identity: str, tags: Mapping[str, object], description: str
    ) -> Version:
        """Registers a logged model as a new version, and returns the version.

        Args:
            model_uri: `models:/<id>`, as `Tracker.log_model` returns it.
            mlflow_id: The run that trained the model.
            identity: The key by which `find` finds the version.
            tags: Shown on the version's page.
            description: Shown above the tags.
        """
        from mlflow.exceptions import MlflowException

        client = self.destination.client
        with translated(self.destination.uri):
            try:
                client.create_registered_model(self.name, description="Text autoencoders with a discrete bottleneck")
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            model_id = model_uri.rpartition("/")[2]
            # A server needs the URI `models:/...`; a database would look it up in the process's default server.
            direct = not self.destination.uri.startswith("http")
            source = client.get_logged_model(model_id).artifact_location if direct else model_uri
            created = client.create_model_version(
                self.name,
                source,
                run_id=mlflow_id,
                tags=as_tags({**tags, IDENTITY: identity}),
                description=description,
                model_id=model_id,
            )
            return _version(created)

    def describe(self, version: str, description: str) -> None:
        """Replaces what is shown above the tags of a version."""
        with translated(self.destination.uri):
            self.destination.client.update_model_version(self.name, version, description)

    def description(self, version: str) -> str:
        """Returns what is shown above the tags of a version; empty where nothing is."""
        with translated(self.destination.uri):
            return self.destination.client.get_model_version(self.name, version).description or ""

    def model_tags(self) -> dict[str, str]:
        """Returns the tags of the registered model itself; empty if there is none."""
        from mlflow.exceptions import MlflowException

        with translated(self.destination.uri):
            try:
                return dict(self.destination.client.get_registered_model(self.name).tags)
            except MlflowException as error:
                if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                    return {}
                raise

    def tag_model(self, tags: Mapping[str, object]) -> None:
        """Sets tags of the registered model itself."""
        with translated(self.destination.uri):
            for name, value in as_tags(tags).items():
                self.destination.client.set_registered_model_tag(self.name, name, value)

    def tag(self, version: str, tags: Mapping[str, object]) -> None:
        """Sets tags of a version; its other tags stay."""
        with translated(self.destination.uri):
            for name, value in as_tags(tags).items():
                self.destination.client.set_model_version_tag(self.name, version, name, value)

    def point(self, alias: str, version: str | None) -> None:
        """Points an alias at a version; None deletes the alias."""
        with translated(self.destination.uri):
            if version is None:
                self.destination.client.delete_registered_model_alias(self.name, alias)
            else:
                self.destination.client.set_registered_model_alias(self.name, alias, version)


def _version(found: ModelVersion) -> Version:
    return Version(str(found.version), found.run_id or "", dict(found.tags))


def versions_by_alias(destination: Destination, alias: str) -> list[tuple[str, Version]]:
    """Returns the version that an alias points to in each registered model that has it, with the model's name."""
    with translated(destination.uri):
        models = destination.client.search_registered_models(max_results=1000)
        found = [(model.name, model.aliases[alias]) for model in models if alias in model.aliases]
        versions = [(name, destination.client.get_model_version(name, str(number))) for name, number in found]
    return [(name, _version(version)) for name, version in versions]
