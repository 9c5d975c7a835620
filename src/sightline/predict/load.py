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
        name: The folder, or `models:/name@alias` or `models:/name/version` in the registry at MLFLOW_TRACKING_URI,
            from which it is downloaded.

    Raises:
        UserError: If the registry is needed but cannot be reached, or has no such model.
    """
    text = os.fspath(name)
    if not text.startswith(REGISTRY):
        return Path(os.path.expanduser(text))  # noqa: PTH111 - does not fail for an unknown user
    try:
        from sightline.tracking import registered_model
    except ModuleNotFoundError as error:
        raise UserError(f"{text}: {error.name} is not installed: {how_to_install('pipeline')}") from None
    folder: Path = registered_model.fetch_bundle(text)
    return folder


def load(name: str | os.PathLike[str], model: str = "auto", threads: int = 0) -> Bundle:
    """Opens an exported model for prediction.

    Args:
        name: The bundle's folder, or `models:/name@alias` for one of MLflow's registry.
        model: The form of the network: "fp32", "int8", or "auto" for the one that export found best.
        threads: Number of threads that the network computes with; 0 for one per core.

    Raises:
        UserError: If there is no such bundle, it is damaged, or what it needs is not installed.

    Example:
        >>> import sightline  # doctest: +SKIP
        >>> for prediction in sightline.load("models/bundle").predict(["photo.jpg"]):  # doctest: +SKIP
        ...     print(prediction.label, prediction.probability)
    """
    return Bundle.load(bundle(name), model, threads)
