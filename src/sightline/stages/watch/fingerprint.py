"""The fingerprint of a source, and of what was trained elsewhere: weights to begin with, a teacher."""

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
    """Weights trained elsewhere that stages begin with.

    Attributes:
        weights: As `train.model.weights` has it.
        network: `train.model.name`.
        teacher: As `train.teacher` has it.
        baseline: The network whose installed weights a baseline method asks for; None where none does.
        start_from: As `train.start_from` has it.
        registered: `promote.name`, the registered model whose champion that may mean.
        architecture: The network's settings, which those of the model to start from have to be.
        unknown_weight: As `train.unknown_weight` has it.
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
        """Takes it from a composed configuration."""
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
    """Returns what is known of the source's files from the last look."""
    return ContentMemory(project_root() / files.STATE / "watched")


def source_fingerprint(config: IngestConfig) -> dict[str, Any]:
    """Returns a source's fingerprint with its kind, and the digests of the list of labels and of what people decided.

    Raises:
        UserError: If the source cannot be reached.
    """
    memory = content_memory()
    fingerprint = open_source(config).fingerprint(memory)
    content: dict[str, Any] = {"source": config.source.name, "fingerprint": fingerprint}
    if config.labels:
        LabelMap.load(located(config.labels))
        content["labels"] = files.sha256_file(located(config.labels))
    # None of these where there are none: a project without keeps the fingerprint that it has.
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
    """Writes what `watch` does of the source of everything trained elsewhere that stages begin with; null without.

    The entries are `weights` (digest and licence of those that training begins with), `teacher` (digest of the bundle
    that it learns from), `start` (that of the model whose weights it starts from), `unknown` (a digest of the
    pictures of none of the classes, where it learns from them) and `baseline` (as `weights`, of the network that
    baseline methods get features from).

    Args:
        watched: As the configuration has it.
        output: The file to write.
        source: The fingerprint of the images as they are now.

    Raises:
        UserError: If there is no such file, package, bundle or model.
    """
    files.write_json(output, weights_fingerprint(watched, source))


def weights_fingerprint(watched: WatchedWeights, source: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Returns what `watch_weights` writes.

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
    """Returns a digest of the pictures of none of the classes where training learns from them; else None."""
    if not watched.unknown_weight:
        return None
    if source is None or "unknown" not in source:
        raise UserError(f"train.unknown_weight: {watched.unknown_weight:g} needs unknown images: set ingest.unknown")
    return files.sha256(files.canonical_json(source["unknown"]).encode())


def _start(watched: WatchedWeights, source: Mapping[str, Any] | None) -> str | None:
    """Returns the digest of the model to start from, which stays while the images do and the champion came of it."""
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
    """Returns what an earlier look wrote; empty where there was none."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return content
    except (FileNotFoundError, ValueError):
        return {}
