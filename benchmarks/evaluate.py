"""Duration of the evaluate stage on 10,000 test images, without the robustness tests.

    python benchmarks/evaluate.py --source data/fashion-mnist

Ingests Fashion-MNIST's IDX files into a fresh copy of the project, trains a small network for one epoch, and times the
evaluate stage from the start of its process to the report, MLflow included. Target: at most 60 s on two idle cores. On
a busy machine, CPU seconds are more meaningful than wall-clock time.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import copies

TARGET = 60
STAGES = ("watch", "ingest", "preprocess", "train")
SETTINGS = (
    "ingest/source=idx",
    "preprocess.size=28",
    "preprocess/denoise=none",
    "preprocess/enhance=none",
    "preprocess/segment=none",
    "train/model=dense",
    "train/augment=none",
    "train.max_epochs=1",
    "train.batch_size=256",
    "evaluate.robustness_images=0",
)


def of(stage: str, settings: tuple[str, ...]) -> list[str]:
    """Returns the settings of a stage's own section, the only ones that it accepts."""
    section = "ingest" if stage == "watch" else stage
    return [word for word in settings if word.startswith((f"{section}.", f"{section}/"))]


def main() -> None:
    """Prints the stage's output, its duration and the verdict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True, help="folder with Fashion-MNIST's four files")
    source = parser.parse_args().source.resolve()
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        copies.make(project)
        settings = (f"ingest.path={source}", *SETTINGS)
        for stage in STAGES:
            copies.run(project, sys.executable, "-m", f"pipeline.{stage}", *of(stage, settings))
        start, before = time.perf_counter(), os.times()
        print(copies.run(project, sys.executable, "-m", "pipeline.evaluate", *of("evaluate", settings)), end="")
        wall, after = time.perf_counter() - start, os.times()
        images = json.loads((project / "reports/metrics_detail.json").read_text())["images"]
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    verdict = "reached" if wall <= TARGET else "missed"
    load = os.getloadavg()[0]
    print(
        f"{images:,.0f} test images: {wall:.1f} s, {cpu:.1f} s of CPU; target {TARGET} s: {verdict} (load {load:.1f})"
    )


if __name__ == "__main__":
    main()
