"""Lookup of a registered model's digest and bundle by its URI, `models:/name@alias` or `models:/name/version`."""

from __future__ import annotations

import os
import re
from pathlib import Path

import mlflow

from sightline import tracking
from sightline.core import files
from sightline.core.errors import UserError
from sightline.tracking.model_registry import PREFIX, ModelRegistry


def model_digest(uri: str, asked_by: str) -> str:
    """Returns the digest of the trained model of a registered version.

    Args:
        uri: `models:/name@alias`, or `models:/name/version`.
        asked_by: The setting or command to name in an error message.

    Raises:
        UserError: If the registry cannot be reached, or has no such version.
    """
    match = _reference(uri)
    registry = ModelRegistry(match["name"])
    alias, number = match["alias"], match["version"]
    version = registry.by_alias(alias) if alias else registry.by_number(int(number))
    digest = version.tags.get(f"{PREFIX}model_sha256") if version else None
    if digest is None:
        raise UserError(
            f"{asked_by}: the registered model {match['name']!r} has no {alias or 'model'} yet: train without "
            "it first, and then sightline promote"
        )
    return digest


def _reference(uri: str) -> re.Match[str]:
    match = re.fullmatch(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[\w.-]+)|/(?P<version>\d+))", uri)
    if match is None:
        raise UserError(f"{uri}: write models:/name@alias, such as models:/sightline@champion, or models:/name/version")
    return match


def fetch_bundle(uri: str) -> Path:
    """Downloads a registered model's bundle; versions never change, so it is cached in `.sightline/registry`.

    Args:
        uri: `models:/name@alias`, or `models:/name/version`.

    Returns:
        The bundle's folder.

    Raises:
        UserError: If the registry cannot be reached, has no such version, or the version has no bundle.
    """
    match = _reference(uri)
    store = os.environ.get("MLFLOW_TRACKING_URI")
    embedded = tracking.project_root() / "mlflow.db"
    if store is None and not embedded.exists():
        raise UserError(f"{uri}: there is no {embedded} here: set MLFLOW_TRACKING_URI, or go to the project's root")
    try:
        with tracking.mlflow_calls():
            client = tracking.open_store()
            if match["alias"]:
                found = client.get_model_version_by_alias(match["name"], match["alias"])
            else:
                found = client.get_model_version(match["name"], match["version"])
            # Every store numbers its versions from 1, so the store and the creation time are part of the cache key.
            identity = f"{mlflow.get_tracking_uri()} {found.name} {found.version} {found.creation_timestamp}"
            kept = files.STATE / "registry" / files.sha256(identity.encode())[:16]
            if not kept.is_dir():
                with files.atomic_directory(kept) as fresh:
                    exact = f"models:/{found.name}/{found.version}"
                    mlflow.artifacts.download_artifacts(artifact_uri=exact, dst_path=str(fresh))
    except tracking.TrackingError as error:
        raise UserError(f"{uri}: cannot be fetched from MLflow ({error.reason}); {error.remedy}") from None
    for path in sorted(kept.rglob("manifest.json")):
        if (path.parent / "model.onnx").is_file():
            return path.parent
    raise UserError(f"{uri}: version {found.version} contains no bundle; the export stage registers those that do")
