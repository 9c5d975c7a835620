"""preprocess: data/raw -> data/processed (fixed-size pixels in memory-mapped shards, index, contract)."""

from __future__ import annotations

from pathlib import Path

from sightline import files, settings
from sightline.preprocess.config import PreprocessConfig
from sightline.script import Context, stage_main

INPUT = Path("data/raw")
OUTPUT = Path("data/processed")


def run(config: PreprocessConfig, context: Context) -> None:
    """Writes `data/processed`, whole or not at all."""
    # Here, so that --help and a bad configuration answer at once.
    from sightline.preprocess.division import require_splits
    from sightline.preprocess.memo import FOLDER
    from sightline.preprocess.report import lines
    from sightline.preprocess.stage import preprocess
    from sightline.shards import ProcessedSet

    with files.atomic_directory(context.output / OUTPUT) as out:
        summary = preprocess(context.root / INPUT, config, out, context.root / FOLDER)
        require_splits(summary)
    digest, raw = ProcessedSet(context.output / OUTPUT).digest, settings.raw_digest(context.root / INPUT)
    settings.record(context.output / settings.PROCESSED, context.config, "preprocess", digest, raw)
    for line in lines(summary, config, context.root / INPUT):
        print(f"preprocess: {line}")


if __name__ == "__main__":
    stage_main("preprocess", PreprocessConfig, run)
