"""Bundles by name: a folder, or a model of MLflow's registry."""

from __future__ import annotations

import os
from pathlib import Path

from sightline.core.errors import UserError, how_to_install
from sightline.predict.bundle import Bundle

REGISTRY = "models:/"


def bundle(name: str | os.PathLike[str]) -> Path:
    """Returns the folder of a bundle.

    Args:
        name: The folder, or `models:/name@alias` or `models:/name/version` of the registry at MLFLOW_TRACKING_URI,
            from which it is fetched.

    Raises:
        UserError: If the registry is asked for, and it cannot be reached or has no such model.
    """
    text = os.fspath(name)
    if not text.startswith(REGISTRY):
        return Path(text)
    try:
        from sightline.tracking import registry
    except ModuleNotFoundError as error:
        raise UserError(f"{text}: {error.name} is not installed: {how_to_install('pipeline')}") from None
    folder: Path = registry.fetch_bundle(text)
    return folder


def load(name: str | os.PathLike[str], model: str = "auto", threads: int = 0) -> Bundle:
    """Opens a bundle by its folder or its name in the registry; see `sightline.load`."""
    return Bundle.load(bundle(name), threads, model)
