"""Fingerprints of the source and of models trained elsewhere: initial weights, a teacher, a model to start from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from sightline.core import files
from sightline.core.errors import UserError
from sightline.core.project import located, project_root
from sightline.datasets.corrections import CorrectionFile, digest_of_changes
from sightline.models import weights_origin
from sightline.predict.teacher import bundle_digest
from sightline.sources import additions, open_source
from sightline.sources.content import ContentMemory
from sightline.sources.unknown import unknown_source
from sightline.stages.ingest.config import IngestConfig
from sightline.stages.ingest.label_map import LabelMap

if TYPE_CHECKING:
    from omegaconf import DictConfig

SOURCE = Path("data/source.json")
WEIGHTS = Path("data/weights.json")


@dataclass(frozen=True)
class WatchedWeights:
    """Settings of weights trained elsewhere that stages use.

    Attributes:
        weights: `train.model.weights`.
        network: `train.model.name`.
        teacher: `train.teacher`.
        baseline: The network whose installed weights a baseline method uses; None if there is no such method.
        start_from: `train.start_from`.
        registered: `promote.name`, the registered model whose champion `start_from` may refer to.
        architecture: The network's settings, which must equal those of the model to start from.
        unknown_weight: `train.unknown_weight`.
    """

    weights: str | None
    network: str
    teacher: str | None = None
    baseline: str | None = None
    start_from: str | None = None
    registered: str = ""
    architecture: Mapping[str, Any] = field(default_factory=dict)
    unknown_weight: float = 0.0

    @classmethod
    def of(cls, config: DictConfig) -> Self:
        """Reads the settings from a composed configuration."""
        model, baseline = config.train.model, config.baseline
        asked = [*baseline.methods, baseline.learning_curve or ""]
        network = baseline.network if any(name.startswith("pretrained_") for name in asked) else None
        weight = float(config.train.unknown_weight)
        watched = cls(model.get("weights"), model.name, config.train.teacher, network, unknown_weight=weight)
        if config.train.start_from is None:
            return watched
        from omegaconf import OmegaConf

        architecture: Any = OmegaConf.to_container(model, resolve=True)
        return replace(
            watched,
            start_from=config.train.start_from,
            registered=config.promote.name,
            architecture=architecture,
        )


def content_memory() -> ContentMemory:
    """Returns the memory of the source's files from earlier runs."""
    return ContentMemory(project_root() / files.STATE / "watched")


def source_fingerprint(config: IngestConfig) -> dict[str, Any]:
    """Returns a source's fingerprint with its kind, and the digests of label map, corrections, additions and unknown.

    Raises:
        UserError: If the source cannot be reached.
    """
    memory = content_memory()
    fingerprint = open_source(config).fingerprint(memory)
    content: dict[str, Any] = {"source": config.source.name, "fingerprint": fingerprint}
    if config.labels:
        LabelMap.load(located(config.labels))
        content["labels"] = files.sha256_file(located(config.labels))
    # Only those that exist, so that the fingerprints of projects without them do not change.
    if config.corrections:
        corrected = digest_of_changes(CorrectionFile(located(config.corrections)).current())
        content |= {"corrections": corrected} if corrected else {}
    added = (
        additions.additions_fingerprint(located(config.additions), config.max_bytes, memory)
        if config.additions
        else None
    )
    unknown = unknown_source(config)
    content |= {"unknown": unknown.fingerprint(memory)} if unknown is not None else {}
    return content | ({"additions": added} if added else {})


def watch_weights(watched: WatchedWeights, output: Path, source: Mapping[str, Any] | None = None) -> None:
    """Writes the fingerprints of everything trained elsewhere that stages use; entries without a model are null.

    The entries are `weights` (digest and licence of the initial weights), `teacher` (digest of the teacher's bundle),
    `start` (digest of the model to start from), `unknown` (digest of the images of none of the classes, if training
    uses them) and `baseline` (like `weights`, for the network whose features baseline methods use).

    Args:
        watched: The settings.
        output: The file to write.
        source: The current fingerprint of the source.

    Raises:
        UserError: If there is no such file, package, bundle or model.
    """
    files.write_json(output, weights_fingerprint(watched, source))


def weights_fingerprint(watched: WatchedWeights, source: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Returns the content that `watch_weights` writes.

    Raises:
        UserError: If there is no such file, package, bundle or model.
    """
    return {
        "weights": weights_origin.of_weights(watched.weights, watched.network),
        "teacher": bundle_digest(watched.teacher) if watched.teacher else None,
        "start": _start(watched, source),
        "unknown": _unknown(watched, source),
        "baseline": weights_origin.of_weights("package", watched.baseline) if watched.baseline else None,
    }


def _unknown(watched: WatchedWeights, source: Mapping[str, Any] | None) -> str | None:
    """Returns a digest of the images of none of the classes if training uses them; else None."""
    if not watched.unknown_weight:
        return None
    if source is None or "unknown" not in source:
        raise UserError(f"train.unknown_weight: {watched.unknown_weight:g} needs unknown images: set ingest.unknown")
    return files.sha256(files.canonical_json(source["unknown"]).encode())


def _start(watched: WatchedWeights, source: Mapping[str, Any] | None) -> str | None:
    """Returns the digest of the model to start from; see `find_start` for when an earlier result is kept."""
    if watched.start_from is None:
        return None
    from sightline.models import start_lookup

    same = source is not None and _content(SOURCE) == source
    found = start_lookup.find_start(
        watched.start_from, watched.registered, _content(WEIGHTS).get("start") if same else None
    )
    found.check(watched.architecture)
    return found.digest


def _content(path: Path) -> dict[str, Any]:
    """Returns the content of an earlier run's file; empty if there is none."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return content
    except (FileNotFoundError, ValueError):
        return {}
