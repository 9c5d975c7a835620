"""A trained model on disk: `model.safetensors` (weights) and `model.json` (everything else). No pickle."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from sightline.core import files
from sightline.core.errors import UserError
from sightline.models.classifier import Classifier, build_classifier
from sightline.models.model_info import INFO as INFO
from sightline.models.model_info import WEIGHTS as WEIGHTS
from sightline.models.model_info import ModelInfo, TrainingLineage
from sightline.models.options import ModelOption


def weights_bytes(classifier: Classifier) -> bytes:
    """Returns the weights in safetensors format: equal weights give equal bytes (no metadata, see its issue 584)."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in classifier.state_dict().items()}
    return save_tensors(state)


def save_model(
    folder: Path,
    classifier: Classifier,
    option: ModelOption,
    shape: tuple[int, int, int],
    classes: list[str],
    lineage: TrainingLineage | None = None,
) -> str:
    """Writes a model.

    Args:
        folder: The folder for the two files.
        classifier: The model.
        option: Its model option.
        shape: (height, width, channels) of its input.
        classes: Class names in order of index.
        lineage: Its origin; None if unknown.

    Returns:
        The model's digest: the SHA-256 of its weights file.
    """
    weights = weights_bytes(classifier)
    info = ModelInfo(
        architecture=dataclasses.asdict(option),
        shape=shape,
        classes=classes,
        weights_sha256=files.sha256(weights),
        lineage=lineage or TrainingLineage(),
    )
    files.write_bytes(folder / WEIGHTS, weights)
    files.write_json(folder / INFO, info.to_json())
    return info.weights_sha256


def load_model(folder: Path) -> tuple[Classifier, ModelInfo]:
    """Reads a model.

    Returns:
        The classifier, on the CPU, in evaluation mode, and the content of `model.json`.

    Raises:
        UserError: If the files are missing or damaged, or do not belong together.
    """
    info = ModelInfo.read(folder / INFO)
    try:
        weights = (folder / WEIGHTS).read_bytes()
        option = info.option()
    except FileNotFoundError as error:
        raise UserError(
            f"{error.filename} is missing: name the folder that training wrote (models), or run the train stage"
        ) from None
    except ValueError as error:
        raise UserError(f"{folder / INFO} is damaged ({error}): run the train stage again") from None
    same = files.sha256(weights) == info.weights_sha256
    try:
        if same:
            classifier = _skeleton(option, info)
            classifier.load_state_dict(load_tensors(weights))
    except (RuntimeError, ValueError):  # weights of another shape: `model.json` was changed
        same = False
    if not same:
        raise UserError(f"{folder / WEIGHTS} is damaged or not the one {INFO} describes: run the train stage again")
    return classifier.eval(), info


def _skeleton(option: ModelOption, info: ModelInfo) -> Classifier:
    """Builds the network that `model.json` describes, before its weights are loaded."""
    zeros = [0.0] * info.shape[2]
    with torch.random.fork_rng(devices=[]):
        return build_classifier(option, info.shape, len(info.classes), zeros, zeros)
