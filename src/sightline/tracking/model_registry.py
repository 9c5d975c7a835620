"""MLflow's registered models: versions, their aliases and tags.

A version contains a bundle and its model's predictions on the test split, so that versions can be compared using only
the registry. `challenger` is the newest candidate, `champion` the version in use.
"""

from __future__ import annotations

import getpass
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from sightline import tracking
from sightline.core import git
from sightline.core.errors import DISTRIBUTION, UserError
from sightline.tracking.mlflow_errors import mlflow_user_errors

os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

import mlflow
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, ErrorCode
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import Array, ParamSchema, ParamSpec
from packaging.requirements import Requirement

CHALLENGER, CHAMPION = "challenger", "champion"
BUNDLE_TAG = "sightline.bundle_sha256"
PREFIX = "sightline."

BUNDLE, PREDICTIONS = "bundle", "predictions.parquet"
"""Names of a version's files in the folder from `ModelRegistry.files_of`."""

SIGNATURE = ModelSignature(
    inputs=Schema([ColSpec(DataType.binary, "image")]),  # strings are decoded as base64, which JSON input needs
    outputs=Schema(
        [
            ColSpec(DataType.string, "label", required=False),
            ColSpec(DataType.double, "probability", required=False),
            ColSpec(Array(DataType.double), "probabilities", required=False),
            ColSpec(DataType.string, "error", required=False),
            ColSpec(DataType.double, "novelty", required=False),
            ColSpec(Array(DataType.string), "class_set", required=False),
        ]
    ),
    params=ParamSchema([ParamSpec("coverage", DataType.double, 0.0)]),
)


@dataclass(frozen=True)
class Version:
    """A version of the registered model.

    Attributes:
        number: Its number.
        aliases: Its aliases, sorted.
        tags: Its tags.
        run_id: The run that trained its model; None if it was registered without one.
    """

    number: int
    aliases: list[str]
    tags: dict[str, str]
    run_id: str | None


class ModelRegistry:
    """The versions of one registered model.

    Args:
        name: The registered model, which is created with its first version.

    Raises:
        UserError: Here and in every method, if MLflow cannot be reached or fails.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        with mlflow_user_errors():
            self._client, self._experiment = tracking.connect()

    def by_bundle(self, digest: str) -> Version | None:
        """Returns the newest version with the bundle of that digest; None if there is none."""
        with mlflow_user_errors():
            found = [v for v in self._versions() if v.tags.get(BUNDLE_TAG) == digest]
            return self._read(max(found, key=lambda v: int(v.version)).version) if found else None

    def by_alias(self, alias: str) -> Version | None:
        """Returns the version that an alias points to; None if there is no such alias."""
        with mlflow_user_errors():
            if not self._versions():
                return None
            aliases: Mapping[str, Any] = self._client.get_registered_model(self.name).aliases
            return self._read(aliases[alias]) if alias in aliases else None

    def aliases(self) -> dict[str, int]:
        """Returns the version numbers that aliases point to, by alias, sorted."""
        with mlflow_user_errors():
            if not self._versions():
                return {}
            found = self._client.get_registered_model(self.name).aliases
            return {alias: int(found[alias]) for alias in sorted(found)}

    def by_number(self, number: int) -> Version:
        """Returns a version.

        Raises:
            UserError: If there is no version with that number.
        """
        with mlflow_user_errors():
            numbers = sorted(int(v.version) for v in self._versions())
            if number not in numbers:
                known = ", ".join(map(str, numbers)) or "none yet; `sightline promote` makes one"
                raise UserError(f"the model {self.name!r} has no version {number}: there are {known}")
            return self._read(number)

    def register(self, artifacts: Mapping[str, Path], code: Path, model_digest: str, tags: dict[str, str]) -> Version:
        """Registers a bundle as a new version, from the run that trained its model.

        Args:
            artifacts: The version's files and folders, such as `bundle` and its model's predictions on the test split;
                they keep their file names.
            code: The Python file that MLflow runs to serve it.
            model_digest: Digest of the trained model, which identifies its run.
            tags: Tags of the version.
        """
        with mlflow_user_errors():
            run_id = tracking.run_of_model(self._client, self._experiment, model_digest, {})
            mlflow.set_experiment(experiment_id=self._experiment)
            with warnings.catch_warnings():
                # The signature already describes the input.
                warnings.filterwarnings("ignore", ".*input example")
                logged = Model.log(
                    None,
                    mlflow.pyfunc,
                    name="bundle",
                    run_id=run_id,
                    python_model=str(code),
                    artifacts={name: str(path) for name, path in artifacts.items()},
                    signature=SIGNATURE,
                    code_paths=[str(Path(__file__).parents[1])],  # this package, which is in no package index
                    pip_requirements=_requirements(),
                )
            try:
                self._client.create_registered_model(self.name)
            except MlflowException as error:
                if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
                    raise
            made = self._client.create_model_version(
                self.name, source=logged.model_uri, run_id=run_id, model_id=logged.model_id, tags=tags
            )
            return self._read(made.version)

    @contextmanager
    def files_of(self, version: Version) -> Iterator[Path]:
        """Yields a temporary folder with a version's bundle and predictions."""
        with tempfile.TemporaryDirectory(prefix="sightline-version-") as folder:
            with mlflow_user_errors():
                source = self._client.get_model_version_download_uri(self.name, str(version.number))
                mlflow.artifacts.download_artifacts(artifact_uri=f"{source}/artifacts", dst_path=folder)
            yield Path(folder) / "artifacts"

    def record(self, version: Version, tags: Mapping[str, str]) -> None:
        """Sets tags of a version."""
        with mlflow_user_errors():
            for name, value in tags.items():
                self._client.set_model_version_tag(self.name, str(version.number), name, value)

    def point(self, alias: str, version: Version) -> None:
        """Points an alias to a version."""
        with mlflow_user_errors():
            self._client.set_registered_model_alias(self.name, alias, str(version.number))

    def run(self, version: Version) -> Run | None:
        """Returns the run that trained a version's model; None if it has none or it was deleted."""
        if version.run_id is None:
            return None
        with mlflow_user_errors():
            try:
                return self._client.get_run(version.run_id)
            except MlflowException:
                return None

    def _versions(self) -> list[ModelVersion]:
        return list(self._client.search_model_versions(f"name = '{self.name}'", max_results=10_000))

    def _read(self, number: int | str) -> Version:
        found = self._client.get_model_version(self.name, str(number))
        return Version(int(found.version), sorted(found.aliases), dict(found.tags), found.run_id or None)


def _requirements() -> list[str]:
    """Returns the packages that prediction requires, pinned to the installed versions."""
    wanted = map(Requirement, metadata.requires(DISTRIBUTION) or ())
    needed = [one.name for one in wanted if one.marker is None or one.marker.evaluate({"extra": "predict"})]
    return [f"{name}=={metadata.version(name)}" for name in needed]


def who() -> str:
    """Returns the current user: name and email address from git's configuration, else the login name."""
    name, address = git.answer("config", "user.name"), git.answer("config", "user.email")
    return f"{name} <{address}>" if name and address else getpass.getuser()
