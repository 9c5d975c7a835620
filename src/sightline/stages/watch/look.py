"""One look at all that may change outside of DVC's sight: the source, the weights file, the code, the settings."""

from __future__ import annotations

from pathlib import Path

from sightline.core import files
from sightline.stages.watch import config_cache
from sightline.stages.watch.fingerprint import SOURCE, WEIGHTS, source_fingerprint, watch_weights
from sightline.stages.watch.stage_digests import write_stage_digests

STAGES = Path("data/stages.json")


def look(watched: config_cache.WatchedConfig, output: Path) -> None:
    """Writes the fingerprints and the stages' digests; none where one thing is missing.

    Args:
        watched: The configuration of what is watched.
        output: The folder below which the files are written: the project's root, or another.

    Raises:
        UserError: If the source or the weights file cannot be read.
    """
    source = source_fingerprint(watched.ingest)
    watch_weights(watched.weights, output / WEIGHTS, source)
    files.write_json(output / SOURCE, source)
    write_stage_digests(watched.settings, output / STAGES)
