"""A trained model on disk: `model.safetensors` (weights) and `model.json` (everything else). No pickle."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from sightline.config.schema import Option
from sightline.core import files
from sightline.core.errors import UserError
from sightline.models.classifier import Classifier, build
from sightline.models.config import MODELS

WEIGHTS = "model.safetensors"
INFO = "model.json"


def weights_bytes(classifier: Classifier) -> bytes:
    """Returns the weights in safetensors format: equal weights give equal bytes (no metadata, see its issue 584)."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in classifier.state_dict().items()}
    return save_tensors(state)


def save(
    folder: Path,
    classifier: Classifier,
    option: Option,
    shape: tuple[int, int, int],
    classes: list[str],
    more: dict[str, Any],
) -> str:
    """Writes a model.

    Args:
        folder: Where the two files go.
        classifier: The model.
        option: Its architecture.
        shape: (height, width, channels) of its input.
        classes: Class names in order of index.
        more: Further JSON values to keep with it: lineage, numeric profile.

    Returns:
        The model's digest: the SHA-256 of its weights file.
    """
    weights = weights_bytes(classifier)
    digest = files.sha256(weights)
    height, width, channels = shape
    files.write_bytes(folder / WEIGHTS, weights)
    info = {
        "architecture": dataclasses.asdict(option),
        "input": {"height": height, "width": width, "channels": channels},
        "classes": classes,
        "weights_sha256": digest,
        **more,
    }
    files.write_json(folder / INFO, info)
    return digest


def load(folder: Path) -> tuple[Classifier, dict[str, Any]]:
    """Reads a model.

    Returns:
        The classifier, on the CPU, in evaluation mode, and the content of `model.json`.

    Raises:
        UserError: If the files are missing or damaged, or do not belong together.
    """
    try:
        info: dict[str, Any] = json.loads((folder / INFO).read_text(encoding="utf-8"))
        weights = (folder / WEIGHTS).read_bytes()
        same = files.sha256(weights) == info["weights_sha256"]
        classifier = _skeleton(info)
    except FileNotFoundError as error:
        raise UserError(f"{error.filename} is missing: run the train stage") from None
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{folder / INFO} is damaged: run the train stage again") from None
    try:
        if same:
            classifier.load_state_dict(load_tensors(weights))
    except RuntimeError:  # weights of another shape: `model.json` is not as it was written
        same = False
    if not same:
        raise UserError(f"{folder / WEIGHTS} is damaged or not the one {INFO} describes: run the train stage again")
    return classifier.eval(), info


def _skeleton(info: dict[str, Any]) -> Classifier:
    """Builds the network that `model.json` describes, its weights yet to come."""
    architecture = info["architecture"]
    if "weights" in architecture:  # what it was initialised from no longer matters, and may be gone
        architecture = {**architecture, "weights": None}
    option = MODELS[architecture["name"]](**architecture)
    size = info["input"]
    shape = (size["height"], size["width"], size["channels"])
    zeros = [0.0] * size["channels"]
    with torch.random.fork_rng(devices=[]):
        return build(option, shape, len(info["classes"]), zeros, zeros)
