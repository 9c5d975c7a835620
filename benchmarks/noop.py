"""Duration of a `dvc repro` with nothing to do, relative to that of a bare DAG with one stage.

    python benchmarks/noop.py [--rounds 7] [--project FOLDER]

A reproduced copy of the project takes turns with a repository whose only stage copies a file, so a busy machine slows
both. The result is the ratio of the medians. Target: at most 2.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import copies

TARGET = 2.0
STAGE = """stages:
  only:
    cmd: cp in.txt out.txt
    deps: [in.txt]
    outs: [out.txt]
"""


def make_bare(root: Path) -> None:
    """Makes a repository with one stage."""
    root.mkdir()
    copies.run(root, "git", "init", "--quiet")
    copies.run(root, "dvc", "init", "--quiet")
    (root / ".dvc" / "config").write_text((copies.ROOT / ".dvc" / "config").read_text())
    (root / "in.txt").write_text("nothing\n")
    (root / "dvc.yaml").write_text(STAGE)


def main() -> None:
    """Prints a line for each contender, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--project", type=Path, help="an existing copy of the project")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bare, project = Path(folder) / "bare", arguments.project or Path(folder) / "project"
        make_bare(bare)
        if not arguments.project:
            copies.make(project)
        contenders = {"one stage": bare, "sightline": project}
        for root in contenders.values():
            copies.run(root, "dvc", "repro")
        seconds: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(arguments.rounds):
            for name, root in contenders.items():
                start = time.perf_counter()
                output = copies.run(root, "dvc", "repro")
                seconds[name].append(time.perf_counter() - start)
                assert output.count("Running stage") == (name == "sightline"), output  # only `watch` runs
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, values in seconds.items():
        print(f"{name:10} median {medians[name]:.2f} s  (from {min(values):.2f} to {max(values):.2f})")
    ratio = medians["sightline"] / medians["one stage"]
    print(f"ratio {ratio:.2f}, target {TARGET:g}: {'reached' if ratio <= TARGET else 'missed'}")


if __name__ == "__main__":
    main()
