"""ingest: the source's images -> data/raw (checked shards, class map, list of what was refused, audit)."""

from __future__ import annotations

from pathlib import Path

from sightline import files, settings
from sightline.ingest.config import IngestConfig
from sightline.ingest.sources import open_source
from sightline.script import Context, stage_main

OUTPUT = Path("data/raw")
MEMORY = files.STATE / "ingest-classes.json"


def run(config: IngestConfig, context: Context) -> None:
    """Writes `data/raw`, whole or not at all."""
    from sightline.ingest import report  # here, so that --help and a bad configuration answer at once
    from sightline.ingest.demands import require_trainable
    from sightline.ingest.stage import ingest

    with files.atomic_directory(context.output / OUTPUT) as out:
        summary = ingest(open_source(config), config, out)
        require_trainable(summary, config)
    digest = settings.raw_digest(context.output / OUTPUT)
    settings.record(context.output / settings.RAW, context.config, "ingest", digest)
    for line in [*report.lines(summary), *report.class_changes(list(summary["classes"]), context.output / MEMORY)]:
        print(f"ingest: {line}")


if __name__ == "__main__":
    stage_main("ingest", IngestConfig, run)
