"""watch: cheap fingerprints of the source (data/source.json) and of weights made elsewhere (data/weights.json).

It also digests each stage's code and settings (data/stages.json). A stage reruns only if its entries there change.

It runs at every `dvc repro`, so it also checks the configuration of all stages, before any work starts. Fingerprints
depend on content, which is read only once: a file with the same size, times and inode is considered unchanged.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sightline.core import files
from sightline.stages.ingest.config import IngestConfig
from sightline.stages.watch import config_cache, earlier_results
from sightline.stages.watch.look import look

if TYPE_CHECKING:
    from sightline.config.stage_runner import Context


def run(config: IngestConfig, context: Context) -> None:
    """Writes the fingerprints, and remembers that the configuration is valid."""
    watched = config_cache.WatchedConfig.of(config, context.config)
    earlier_results.refuse_earlier()
    look(watched, context.output)
    if not context.overrides:
        config_cache.remember(watched)


def main() -> None:
    """Writes the fingerprints; if nothing has changed, with the configuration that was found valid before."""
    watched = config_cache.remembered() if len(sys.argv) == 1 else None
    if watched is None:
        # Imported here: Hydra would take most of the time of a `dvc repro` with nothing to do.
        from sightline.config.sections import check
        from sightline.config.stage_runner import stage_main

        stage_main("watch", IngestConfig, run, check=check, section="ingest")
        return
    try:
        with files.lock("watch"):
            earlier_results.refuse_earlier()
            look(watched, Path())
    except Exception as error:
        from sightline.config.stage_runner import end

        end("watch", error)


if __name__ == "__main__":
    main()
