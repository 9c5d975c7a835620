"""watch: a cheap fingerprint of the source -> data/source.json; what follows reruns only when that file changes.

It runs at every `dvc repro`, so it also is the place where the configuration of all stages is checked, before any work.
`ingest.deep=true` fingerprints the content of the images in place of their sizes and times.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sightline import files
from sightline.ingest.config import IngestConfig
from sightline.watch import checked
from sightline.watch.fingerprint import watch

if TYPE_CHECKING:
    from sightline.script import Context

OUTPUT = Path("data/source.json")


def run(config: IngestConfig, context: Context) -> None:
    """Watches, and remembers that the configuration is good."""
    watch(config, context.output / OUTPUT)
    if not context.overrides:
        checked.remember(config)


def main() -> None:
    """Watches; with the configuration that was found good before, if nothing of it has changed."""
    config = checked.recall() if len(sys.argv) == 1 else None
    if config is None:
        # Here, since Hydra would be most of the time that a `dvc repro` with nothing to do takes.
        from sightline.script import stage_main
        from sightline.watch.sections import check

        stage_main("ingest", IngestConfig, run, check=check)
        return
    try:
        with files.lock("ingest"):
            watch(config, OUTPUT)
    except Exception as error:
        from sightline.script import end

        end("ingest", error)


if __name__ == "__main__":
    main()
