"""ingest: the source's images -> data/raw (checked shards, class map, list of what was refused, audit).

Images that show none of the classes (`ingest.unknown`) -> data/raw_unknown, with an empty class map if there are none.
"""

from __future__ import annotations

import sys
from pathlib import Path

from sightline.config.stage_runner import Context, stage_main
from sightline.core import files, progress
from sightline.core.project import located
from sightline.datasets import data_settings
from sightline.sources import open_source
from sightline.sources.tracked_images import pull_images
from sightline.stages.ingest.config import IngestConfig

OUTPUT = Path("data/raw")
UNKNOWN = Path("data/raw_unknown")
MEMORY = files.STATE / "ingest-classes.json"


def run(config: IngestConfig, context: Context) -> None:
    """Writes `data/raw` and `data/raw_unknown`, completely or not at all."""
    progress.step("opening the source")
    from sightline.stages.ingest import console  # imported here, so that --help and configuration errors are fast
    from sightline.stages.ingest.demands import require_trainable
    from sightline.stages.ingest.stage import ingest
    from sightline.stages.ingest.unknown_ingest import ingest_unknown

    for path in filter(None, (config.path, getattr(config.source, "root", None), config.additions, config.unknown)):
        if "://" not in path and (done := pull_images(located(path), config.path)):
            print(f"ingest: {done}")
    with (
        files.atomic_directory(context.output / OUTPUT) as out,
        files.atomic_directory(context.output / UNKNOWN) as others,
    ):
        progress.step("")
        summary = ingest(open_source(config), config, out)
        require_trainable(summary, config)
        unknown = ingest_unknown(config, out, others)
    digest = data_settings.raw_digest(context.output / OUTPUT)
    data_settings.save_settings(context.output / data_settings.RAW, context.config, "ingest", digest)
    for line in [
        *console.summary_lines(summary),
        *(console.unknown_lines(unknown, str(UNKNOWN)) if unknown else []),
        *console.class_changes(list(summary["classes"]), context.output / MEMORY),
    ]:
        progress.write_line(f"ingest: {line}", sys.stdout)


if __name__ == "__main__":
    stage_main("ingest", IngestConfig, run)
