"""watch: cheap fingerprints of the source (data/source.json) and of weights made elsewhere (data/weights.json).

It also digests each stage's code and settings (data/stages.json). A stage reruns only when what it reads there changes.

It runs at every `dvc repro`, so it also is the place where the configuration of all stages is checked, before any work.
Fingerprints are of content, which is read once: what has not changed since is known by its size, times and inode.
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
    """Watches, and remembers that the configuration is good."""
    watched = config_cache.WatchedConfig.of(config, context.config)
    earlier_results.refuse_earlier()
    look(watched, context.output)
    if not context.overrides:
        config_cache.remember(watched)


def main() -> None:
    """Watches; with the configuration that was found good before, if nothing of it has changed."""
    watched = config_cache.remembered() if len(sys.argv) == 1 else None
    if watched is None:
        # Here, since Hydra would be most of the time that a `dvc repro` with nothing to do takes.
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
