"""preprocess: data/raw -> data/processed (fixed-size pixels in memory-mapped shards, index, transform).

Images that show none of the classes: data/raw_unknown -> data/unknown, with an empty class map if there are none.
"""

from __future__ import annotations

import sys
from pathlib import Path

from sightline.config.stage_runner import Context, stage_main
from sightline.core import files, progress
from sightline.datasets import data_settings
from sightline.stages.preprocess.config import PreprocessConfig

INPUT = Path("data/raw")
OUTPUT = Path("data/processed")
UNKNOWN_INPUT = Path("data/raw_unknown")
UNKNOWN = Path("data/unknown")


def run(config: PreprocessConfig, context: Context) -> None:
    """Writes `data/processed` and `data/unknown`, completely or not at all."""
    # Imported here, so that --help and configuration errors are fast.
    progress.step("images")
    from sightline.datasets.processed_set import ProcessedSet
    from sightline.stages.preprocess.cache import FOLDER
    from sightline.stages.preprocess.console import set_lines
    from sightline.stages.preprocess.division import require_splits
    from sightline.stages.preprocess.stage import preprocess
    from sightline.stages.preprocess.unknown_halves import preprocess_unknown

    cache = context.root / FOLDER
    with (
        files.atomic_directory(context.output / OUTPUT) as out,
        files.atomic_directory(context.output / UNKNOWN) as others,
    ):
        summary = preprocess(context.root / INPUT, config, out, cache)
        require_splits(summary)
        unknown = preprocess_unknown(context.root / UNKNOWN_INPUT, config, others, cache)
    digest, raw = ProcessedSet(context.output / OUTPUT).digest, data_settings.raw_digest(context.root / INPUT)
    data_settings.save_settings(context.output / data_settings.PROCESSED, context.config, "preprocess", digest, raw)
    for line in [*set_lines(summary, config, context.root / INPUT), *filter(None, [unknown])]:
        progress.write_line(f"preprocess: {line}", sys.stdout)


if __name__ == "__main__":
    stage_main("preprocess", PreprocessConfig, run)
