"""The model that a training starts from, in `.sightline/starts`, where `start_lookup` copies it.

Only `begin` imports PyTorch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightline.core import files
from sightline.core.errors import UserError
from sightline.core.project import project_root
from sightline.models.model_info import INFO, WEIGHTS, ModelInfo, network_option

if TYPE_CHECKING:
    from sightline.models.classifier import Classifier

FOLDER = files.STATE / "starts"
KEY = "train.start_from"


@dataclass(frozen=True)
class StartModel:
    """A model that a training starts from.

    Attributes:
        digest: The SHA-256 of its weights.
        folder: The folder of its two files.
        info: Its `model.json`.
    """

    digest: str
    folder: Path
    info: ModelInfo

    def check(self, architecture: Mapping[str, Any], preparation: Mapping[str, Any] | None = None) -> None:
        """Checks that the network and the preprocessing of the images are the same as this model's.

        Args:
            architecture: The network's settings.
            preparation: The preprocessing, as recorded in `model.json`; None skips this comparison.

        Raises:
            UserError: Naming the settings that differ.
        """
        height, width, _ = self.info.shape
        try:  # the pretrained weights are ignored: they no longer matter
            theirs, ours = (
                dataclasses.asdict(network_option(each).fitted_to(height, width))
                for each in (self.info.architecture, architecture)
            )
        except ValueError as error:
            raise UserError(f"{KEY}: that model cannot be built ({error}): set {KEY}: null") from None
        _require_equal(theirs, ours, "has another network", "train.model")
        if preparation is None:
            return
        if not self.info.lineage.preparation:
            raise UserError(
                f"{KEY}: the model {self.digest[:8]} does not record how its images were preprocessed, because an "
                "older sightline trained it: train it again at its own commit (dvc repro --force train), and "
                "promote it"
            )
        _require_equal(
            self.info.lineage.preparation, preparation, "was trained on images that were preprocessed differently", ""
        )

    def record(self, classes: list[str]) -> dict[str, Any]:
        """Returns the lineage entry of a model trained from this one: the digest, and the kept and new classes."""
        known = self.info.classes
        return {
            "model_sha256": self.digest,
            "kept": [name for name in classes if name in known],
            "new": [name for name in classes if name not in known],
        }


def _require_equal(theirs: Mapping[str, Any], ours: Mapping[str, Any], fault: str, section: str) -> None:
    other = [key for key in sorted(theirs.keys() | ours.keys()) if theirs.get(key) != ours.get(key)]
    if other:
        differences = ", ".join(f"{key} {theirs.get(key)!r}, not {ours.get(key)!r}" for key in other[:3])
        remedy = f"use its settings{f' in {section}' if section else ''}, or set {KEY}: null"
        raise UserError(f"{KEY}: that model {fault} ({differences}): {remedy}")


def kept(digest: str) -> StartModel | None:
    """Returns the copy of the model with this digest; None if it is missing or its weights have changed."""
    folder = project_root() / FOLDER / digest
    if not (folder / INFO).is_file() or not (folder / WEIGHTS).is_file():
        return None
    if files.sha256_file(folder / WEIGHTS) != digest:
        return None
    return StartModel(digest, folder, ModelInfo.read(folder / INFO))


def require_start(digest: str | None) -> StartModel:
    """Returns the model with this digest, which `watch` has copied.

    Raises:
        UserError: If there is no copy.
    """
    found = kept(digest) if digest else None
    if found is None:
        raise UserError(f"{KEY}: the model to start from is not in {FOLDER}: dvc repro watch puts it there")
    return found


def begin(classifier: Classifier, folder: Path, classes: list[str]) -> None:
    """Copies the weights of a model with the same architecture into a network.

    The head keeps the rows of the classes that the model knows, matched by name; rows of new classes start at zero.
    The model's normalisation is copied too, because its weights were trained with it.

    Args:
        classifier: The network, with a head for `classes`.
        folder: The model's folder.
        classes: Class names in order of index.

    Raises:
        UserError: If the model is damaged, or its weights have other shapes.
    """
    import torch

    from sightline.models import saved_model

    old, info = saved_model.load_model(folder)
    head = f"network.{classifier.head_name}."
    state = old.state_dict()
    rows = [(new, info.classes.index(name)) for new, name in enumerate(classes) if name in info.classes]
    for name in [name for name in state if name.startswith(head)]:
        grown = torch.zeros_like(classifier.state_dict()[name])
        for new, row in rows:
            grown[new] = state[name][row]
        state[name] = grown
    try:
        classifier.load_state_dict(state)
    except RuntimeError as error:
        detail = str(error).splitlines()[-1].strip()
        raise UserError(f"{KEY}: the weights of {folder.name[:8]} do not fit: {detail}") from None
