"""The content of `model.json`: a trained model's description and lineage."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from sightline.core.errors import UserError
from sightline.models.options import MODELS, ModelOption

WEIGHTS = "model.safetensors"
INFO = "model.json"
"""The two files of a trained model."""


@dataclass(frozen=True, kw_only=True)
class TrainingLineage:
    """The origin of a model.

    Attributes:
        data_sha256: Digest of the processed set; "" if unknown, such as for a model built by hand.
        transform_sha256: Digest of the preprocessing transform's file; "" if unknown.
        preparation: The preprocessing of the images: the content of that file without the pixel statistics.
        start: The model that training started from (`model_sha256`), and the classes that it knew (`kept`) and did
            not know (`new`); empty if there was none.
        initial_weights: SHA-256 and licence of the weights file that training started with; None if there was none.
        teacher_sha256: Digest of the bundle that was the teacher; "" if there was none.
        training: The train section without the model.
        best_epoch: The best epoch's number, from 1, and its metrics.
        profile: The numeric profile: what the bits of the weights depend on besides data, configuration and code.
    """

    data_sha256: str = ""
    transform_sha256: str = ""
    preparation: Mapping[str, Any] = field(default_factory=dict)
    start: Mapping[str, Any] = field(default_factory=dict)
    initial_weights: Mapping[str, str] | None = None
    teacher_sha256: str = ""
    training: Mapping[str, Any] = field(default_factory=dict)
    best_epoch: Mapping[str, float] = field(default_factory=dict)
    profile: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """The description of a trained model.

    Attributes:
        architecture: The network's name and settings.
        shape: (height, width, channels) of its input.
        classes: Class names in order of index.
        weights_sha256: Digest of the weights file, which identifies the model.
        lineage: Its origin: data, settings, weights.
    """

    architecture: Mapping[str, Any]
    shape: tuple[int, int, int]
    classes: list[str]
    weights_sha256: str
    lineage: TrainingLineage = TrainingLineage()

    @property
    def threads(self) -> int | None:
        """Number of CPU threads that it was trained with; None if unknown."""
        threads = self.lineage.profile.get("threads")
        return None if threads is None else int(threads)

    def option(self) -> ModelOption:
        """Returns the network's option with `weights` set to null.

        The pretrained weights that it was initialised with no longer matter, and their file may be gone.

        Raises:
            ValueError: If `architecture` does not describe a known network.
        """
        return network_option(self.architecture)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads a `model.json`.

        Raises:
            UserError: If it is missing or damaged.
        """
        try:
            return cls.from_json(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UserError(
                f"{path} is missing: name the folder that training wrote (models), or run the train stage"
            ) from None
        except ValueError as error:
            raise UserError(f"{path} is damaged ({error}): run the train stage again") from None

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Parses the text of a `model.json` file.

        Raises:
            ValueError: If it has another structure; the message is one line.
        """
        content = json.loads(text)
        try:
            size = content["input"]
            lineage = {name: content[key] for name, key in _LINEAGE.items() if key in content}
            return cls(
                architecture=dict(content["architecture"]),
                shape=(int(size["height"]), int(size["width"]), int(size["channels"])),
                classes=[str(name) for name in content["classes"]],
                weights_sha256=str(content["weights_sha256"]),
                lineage=TrainingLineage(**lineage),
            )
        except KeyError as error:
            raise ValueError(f"it has no {error}") from None
        except (TypeError, AttributeError) as error:
            raise ValueError(f"it has another structure ({error})") from None

    def to_json(self) -> dict[str, Any]:
        """Returns the content of `model.json`, without the unknown parts of the lineage."""
        height, width, channels = self.shape
        lineage = {key: getattr(self.lineage, name) for name, key in _LINEAGE.items()}
        return {
            "architecture": dict(self.architecture),
            "input": {"height": height, "width": width, "channels": channels},
            "classes": self.classes,
            "weights_sha256": self.weights_sha256,
            **{key: value for key, value in lineage.items() if value},
        }


def network_option(architecture: Mapping[str, Any]) -> ModelOption:
    """Returns the option with a network's settings, except that `weights` is null.

    Raises:
        ValueError: If they do not describe a known network.
    """
    settings = {**architecture, **({"weights": None} if "weights" in architecture else {})}
    name = str(settings.get("name"))
    if name not in MODELS:
        raise ValueError(f"architecture: there is no network {name!r}")
    try:
        return MODELS[name](**{**MODELS[name].EARLIER, **settings})
    except TypeError as error:  # an unknown or missing setting
        raise ValueError(f"architecture: {error}") from None


_LINEAGE = {field.name: field.name for field in dataclasses.fields(TrainingLineage)} | {
    "transform_sha256": "contract_sha256"  # the name in existing files
}
"""Fields of `TrainingLineage` and their names in the file."""

STATISTICS = "statistics"
"""Key of a transform's pixel statistics, which do not affect how images are prepared."""


def preparation(transform: Path) -> dict[str, Any]:
    """Returns the preprocessing of images: the content of a transform's file without the pixel statistics."""
    content: dict[str, Any] = json.loads(transform.read_text(encoding="utf-8"))
    return {key: value for key, value in content.items() if key != STATISTICS}
