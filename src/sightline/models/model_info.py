"""The content of `model.json`: what a trained model is, and what it was made from."""

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
        data_sha256: Digest of the processed set; "" where it is not known, as of a model made by hand.
        transform_sha256: Digest of the preprocessing transform's file; "" likewise.
        preparation: The preprocessing of its images: that file's content, less the statistics of their pixels.
        start: The model that training started from (`model_sha256`), and which of its classes that one knew: `kept`,
            `new`; none without.
        initial_weights: SHA-256 and licence of the weights file that training began with; None without.
        teacher_sha256: Digest of the bundle that it learnt from; "" without.
        training: The train section, less the model.
        best_epoch: The best epoch's number, from 1, and its metrics.
        profile: The numeric profile: what the bits of the weights depend on beside data, configuration and code.
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
        weights_sha256: Digest of the weights' file, which is the model's.
        lineage: Its origin: data, settings, weights.
    """

    architecture: Mapping[str, Any]
    shape: tuple[int, int, int]
    classes: list[str]
    weights_sha256: str
    lineage: TrainingLineage = TrainingLineage()

    @property
    def threads(self) -> int | None:
        """CPU threads that it was trained with, as far as it is known."""
        threads = self.lineage.profile.get("threads")
        return None if threads is None else int(threads)

    def option(self) -> ModelOption:
        """Returns the network's option, to build it with random weights.

        What it was initialised from no longer matters, and may be gone.

        Raises:
            ValueError: If `architecture` is that of no network.
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
        """Reads what `to_json` gave.

        Raises:
            ValueError: In one line, if it is something else.
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
        """Returns the content of `model.json`; what is not known is left out."""
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
    """Returns the option of a network's settings, to build it with random weights.

    Raises:
        ValueError: If they are those of no network.
    """
    settings = {**architecture, **({"weights": None} if "weights" in architecture else {})}
    name = str(settings.get("name"))
    if name not in MODELS:
        raise ValueError(f"architecture: there is no network {name!r}")
    try:
        return MODELS[name](**settings)
    except TypeError as error:  # a setting that the network does not have, or of another type
        raise ValueError(f"architecture: {error}") from None


_LINEAGE = {field.name: field.name for field in dataclasses.fields(TrainingLineage)} | {
    "transform_sha256": "contract_sha256"  # its name in files that exist
}
"""Fields of `TrainingLineage`, and their names in the file."""

STATISTICS = "statistics"
"""Key of a transform that says how its set's pixels are distributed: no part of how images are prepared."""


def preparation(transform: Path) -> dict[str, Any]:
    """Returns how images are prepared: the content of a transform's file, less the statistics of a set's pixels."""
    content: dict[str, Any] = json.loads(transform.read_text(encoding="utf-8"))
    return {key: value for key, value in content.items() if key != STATISTICS}
