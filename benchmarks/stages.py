"""Duration of the default pipeline from scratch: each stage's start-up and work.

    python benchmarks/stages.py

Runs `dvc repro` in a fresh copy of the project. Start-up is the interpreter, imports and configuration; work is the
rest. On a busy machine, CPU seconds are more meaningful than wall-clock time. Target: at most 90 s in total on two idle
cores.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path

import copies
import yaml

TARGET = 90
CLOCK = Path(__file__).parent / "clock"


def main() -> None:
    """Prints a line for each stage, and the total."""
    with tempfile.TemporaryDirectory() as folder:
        project, notes = Path(folder) / "project", Path(folder) / "notes"
        notes.mkdir()
        copies.make(project)
        start, before = time.perf_counter(), os.times()
        copies.run(project, "dvc", "repro", paths=(CLOCK,), SIGHTLINE_CLOCK=str(notes))
        wall, after = time.perf_counter() - start, os.times()
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        stages = list(yaml.safe_load((project / "dvc.yaml").read_text())["stages"])
        times = {stage: json.loads((notes / f"{stage}.json").read_text()) for stage in stages}
    print(f"{'stage':12}{'start-up s':>12}{'work s':>10}{'CPU s':>10}")
    for stage, spent in times.items():
        print(f"{stage:12}{spent['startup']:>12.1f}{spent['work']:>10.1f}{spent['cpu']:>10.1f}")
    known = {part: sum(spent[part] for spent in times.values()) for part in ("startup", "work", "cpu")}
    print(f"{'dvc':12}{'':12}{wall - known['startup'] - known['work']:>10.1f}{cpu - known['cpu']:>10.1f}")
    print(f"{'all':12}{known['startup']:>12.1f}{wall - known['startup']:>10.1f}{cpu:>10.1f}")
    verdict = "reached" if wall <= TARGET else "missed"
    load = os.getloadavg()[0]
    print(f"{wall:.1f} s, target {TARGET} s: {verdict} ({os.cpu_count()} cores, load {load:.1f} of 1 minute)")


if __name__ == "__main__":
    main()
