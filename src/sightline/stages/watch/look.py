"""The check of everything that DVC does not track itself: the source, weights files, code and settings."""

from __future__ import annotations

from pathlib import Path

from sightline.core import files
from sightline.stages.watch import config_cache
from sightline.stages.watch.fingerprint import SOURCE, WEIGHTS, source_fingerprint, watch_weights
from sightline.stages.watch.stage_digests import write_stage_digests

STAGES = Path("data/stages.json")


def look(watched: config_cache.WatchedConfig, output: Path) -> None:
    """Writes the fingerprints and the stages' digests.

    Args:
        watched: The watched parts of the configuration.
        output: The root folder for the files, usually the project's.

    Raises:
        UserError: If the source or a weights file cannot be read.
    """
    source = source_fingerprint(watched.ingest)
    watch_weights(watched.weights, output / WEIGHTS, source)
    files.write_json(output / SOURCE, source)
    write_stage_digests(watched.settings, output / STAGES)
