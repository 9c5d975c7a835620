"""The fingerprint of a source, and of what was trained elsewhere: weights to begin with, a teacher."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from omegaconf import DictConfig

from sightline.core import files
from sightline.core.project import located, project_root
from sightline.models import weights_origin
from sightline.predict.teacher import bundle_digest
from sightline.sources import open_source
from sightline.sources.content import ContentMemory
from sightline.stages.ingest.config import IngestConfig
from sightline.stages.ingest.label_map import LabelMap


@dataclass(frozen=True)
class WatchedWeights:
    """What stages begin with that was trained elsewhere.

    Attributes:
        weights: As `train.model.weights` has it.
        network: `train.model.name`.
        teacher: As `train.teacher` has it.
        baseline: The network whose installed weights a baseline method asks for; None where none does.
    """

    weights: str | None
    network: str
    teacher: str | None = None
    baseline: str | None = None

    @classmethod
    def of(cls, config: DictConfig) -> Self:
        """Takes it from a composed configuration."""
        model, baseline = config.train.model, config.baseline
        asked = [*baseline.methods, baseline.learning_curve or ""]
        network = baseline.network if any(name.startswith("pretrained_") for name in asked) else None
        return cls(model.get("weights"), model.name, config.train.teacher, network)


def watch(config: IngestConfig, output: Path) -> None:
    """Writes the fingerprint; the file holds nothing that changes while the source does not.

    Args:
        config: The ingest section.
        output: The file to write.

    Raises:
        UserError: If the source cannot be reached.
    """
    files.write_json(output, source_fingerprint(config))


def content_memory() -> ContentMemory:
    """Returns what is known of the source's files from the last look."""
    return ContentMemory(project_root() / files.STATE / "watched")


def source_fingerprint(config: IngestConfig) -> dict[str, Any]:
    """Returns a source's fingerprint with the kind of source, and the digest of its list of labels.

    Raises:
        UserError: If the source cannot be reached.
    """
    fingerprint = open_source(config).fingerprint(content_memory())
    content: dict[str, Any] = {"source": config.source.name, "fingerprint": fingerprint}
    if config.labels:
        LabelMap.load(located(config.labels))
        content["labels"] = files.sha256_file(located(config.labels))
    return content


def watch_weights(watched: WatchedWeights, output: Path) -> None:
    """Writes what `watch` does of the source of everything trained elsewhere that stages begin with; null without.

    The entries are `weights` (digest and licence of those that training begins with), `teacher` (digest of the bundle
    that it learns from) and `baseline` (as `weights`, of the network that baseline methods get features from).

    Args:
        watched: As the configuration has it.
        output: The file to write.

    Raises:
        UserError: If there is no such file, package or bundle.
    """
    files.write_json(output, weights_fingerprint(watched))


def weights_fingerprint(watched: WatchedWeights) -> dict[str, Any]:
    """Returns what `watch_weights` writes.

    Raises:
        UserError: If there is no such file, package or bundle.
    """
    return {
        "weights": weights_origin.of_weights(watched.weights, watched.network),
        "teacher": bundle_digest(watched.teacher) if watched.teacher else None,
        "baseline": weights_origin.of_weights("package", watched.baseline) if watched.baseline else None,
    }
