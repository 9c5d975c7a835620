"""The fingerprint of a source, and of the weights that training begins with."""

from __future__ import annotations

from pathlib import Path

from sightline.core import files
from sightline.core.project import located
from sightline.models import weights_origin
from sightline.sources import open_source
from sightline.stages.ingest.config import IngestConfig
from sightline.stages.ingest.label_map import LabelMap


def watch(config: IngestConfig, output: Path) -> None:
    """Writes the fingerprint; the file holds nothing that changes while the source does not.

    Args:
        config: The ingest section.
        output: The file to write.

    Raises:
        UserError: If the source cannot be reached.
    """
    content = {"source": config.source.name, "fingerprint": open_source(config).fingerprint(deep=config.deep)}
    if config.labels:
        LabelMap.load(located(config.labels))
        content["labels"] = files.sha256_file(located(config.labels))
    files.write_json(output, content)


def watch_weights(weights: str | None, output: Path) -> None:
    """Writes digest and licence of the weights file, as `watch` does of the source; null where there is none.

    Args:
        weights: As `train.model.weights` has it.
        output: The file to write.

    Raises:
        UserError: If there is no such file.
    """
    files.write_json(output, {"weights": weights_origin.of_weights(weights)})
