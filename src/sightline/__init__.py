"""Sightline: labelled images in, a trained, evaluated, explained and deployable classifier out."""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

    from sightline.predict.bundle import Bundle

logging.getLogger(__name__).addHandler(logging.NullHandler())  # a library prints nothing unless it is asked to


def load(bundle: str | os.PathLike[str], model: str = "auto", threads: int = 0) -> Bundle:
    """Opens an exported model for prediction.

    Args:
        bundle: The bundle's folder, or `models:/name@alias` for one of MLflow's registry.
        model: The form of the network: "fp32", "int8", or "auto" for the one that export found best.
        threads: How many threads the network computes with; 0 for one a core.

    Raises:
        UserError: If there is no such bundle, it is damaged, or what it needs is not installed.

    Example:
        >>> import sightline  # doctest: +SKIP
        >>> for prediction in sightline.load("models/bundle").predict(["photo.jpg"]):  # doctest: +SKIP
        ...     print(prediction.label, prediction.probability)
    """
    # By name: every stage imports this package, and the code of prediction is no part of any but the last.
    opened: Bundle = import_module(".predict.load", __name__).load(bundle, model, threads)
    return opened
