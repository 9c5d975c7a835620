"""Time and memory of the pipeline at sizes a factor of ten apart: does each stage scale linearly?

    python benchmarks/scale.py [--sizes 10000 100000] [--kinds folder parquet] [--until evaluate] [--folder FOLDER]

The benchmark generates distinct JPEGs of 64 pixels in ten classes, as a folder per class and as one Parquet file. It
runs a copy of the project on them stage by stage with `dvc repro` (32 x 32 x 3 pixels, a network of dense layers, one
epoch, one baseline), and once more with nothing to do. For each command it prints the wall-clock seconds, the CPU
seconds of all its processes, the largest peak RSS of any process and that process's name, and the peak of the same
process's anonymous memory, which excludes file pages that the system can reclaim.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import copies
import cv2
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

CLASSES = 10
CHUNK = 10_000
STAGES = ("ingest", "preprocess", "train", "baseline", "evaluate")
LIMIT = 1024
"""Limit of a process's peak RSS, in MiB."""
SETTINGS = {
    "preprocess": {"size": 32, "channels": 3, "denoise": "none", "enhance": "none", "segment": "none"},
    "baseline": {"methods": ["majority"]},
    "train": {"model": "dense", "augment": "none", "batch_size": 256, "max_epochs": 1, "cache_in_memory": "never"},
}


def encoded(start: int) -> list[bytes]:
    """Returns a chunk of JPEGs (smooth colours and some noise), which depends only on the number of the first one."""
    cv2.setNumThreads(1)
    random = np.random.default_rng(start)
    made = []
    for number in range(start, start + CHUNK):
        coarse = random.integers(0, 256, (8, 8, 3), np.uint8)
        coarse[:, :, 0] //= 1 + number % CLASSES  # makes the classes distinguishable
        image = cv2.resize(coarse, (64, 64), interpolation=cv2.INTER_CUBIC)
        made.append(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes())
    return made


def chunks(images: int) -> Iterator[tuple[int, list[bytes]]]:
    """Yields the JPEGs in chunks, each with the number of its first image."""
    starts = range(0, images, CHUNK)
    with ProcessPoolExecutor() as pool:
        for first in range(0, len(starts), 4):  # a few chunks at a time, to limit memory
            part = starts[first : first + 4]
            yield from zip(part, pool.map(encoded, part), strict=True)


def make(kind: str, images: int, place: Path) -> Path:
    """Writes the images as a folder or as one Parquet file, and returns its path."""
    if kind == "folder":
        for name in range(CLASSES):
            (place / f"class_{name}").mkdir(parents=True)
        for start, part in chunks(images):
            for number, data in enumerate(part, start):
                (place / f"class_{number % CLASSES}" / f"{number:08}.jpg").write_bytes(data)
        return place
    place.mkdir(parents=True)
    schema = pa.schema({"id": pa.string(), "image": pa.binary(), "label": pa.string()})
    with pq.ParquetWriter(place / "images.parquet", schema) as writer:
        for start, part in chunks(images):
            numbers = range(start, start + len(part))
            columns = [[f"{n:08}" for n in numbers], part, [f"class_{n % CLASSES}" for n in numbers]]
            writer.write_table(pa.table(columns, schema=schema))
    return place / "images.parquet"


@dataclass
class Cost:
    """The cost of a command.

    Attributes:
        wall: Wall-clock seconds.
        cpu: CPU seconds of all its processes.
        peak: Peak RSS of the largest process, in MiB.
        own: Peak anonymous memory of that process, in MiB.
        name: Name of that process.
        output: The command's output.
    """

    wall: float = 0.0
    cpu: float = 0.0
    peak: float = 0.0
    own: float = 0.0
    name: str = ""
    output: str = field(default="", repr=False)


def measured(root: Path, *words: str) -> Cost:
    """Runs a command in the project, sampling the memory of its processes twenty times a second."""
    cost, done = Cost(), threading.Event()
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    environment["PYTHONPATH"] = str(root / "src")
    with tempfile.TemporaryFile() as output:
        begun = time.perf_counter()
        process = subprocess.Popen(words, cwd=root, env=environment, stdout=output, stderr=subprocess.STDOUT)
        watcher = threading.Thread(target=_watch, args=(process.pid, cost, done))
        watcher.start()
        _, status, usage = os.wait4(process.pid, 0)  # includes all children that it has waited for
        process.returncode = os.waitstatus_to_exitcode(status)
        cost.wall, cost.cpu = time.perf_counter() - begun, usage.ru_utime + usage.ru_stime
        done.set()
        watcher.join()
        output.seek(0)
        cost.output = output.read().decode(errors="replace")
    if process.returncode not in (0, 1 if "check" in words else 0):
        raise SystemExit(f"{' '.join(words)} ended with {process.returncode}:\n{cost.output[-4000:]}")
    return cost


def _watch(pid: int, cost: Cost, done: threading.Event) -> None:
    owned: dict[int, float] = {}
    while not done.wait(0.05):
        with contextlib.suppress(psutil.Error, OSError):
            root = psutil.Process(pid)
            for process in (root, *root.children(recursive=True)):
                with contextlib.suppress(psutil.Error, OSError, KeyError):
                    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
                    values = dict(line.split(":", 1) for line in lines)
                    peak, own = (int(values[name].split()[0]) / 1024 for name in ("VmHWM", "RssAnon"))
                    owned[process.pid] = max(own, owned.get(process.pid, 0.0))
                    if peak >= cost.peak:
                        cost.peak, cost.own, cost.name = peak, owned[process.pid], _name(process.cmdline())


def _name(words: list[str]) -> str:
    return " ".join(Path(word).name for word in words[1:4] if not word.startswith("-"))[:40]


def row(images: int, kind: str, what: str, cost: Cost) -> None:
    """Prints a row of the table."""
    verdict = "" if cost.peak <= LIMIT else f"  above {LIMIT}"
    print(
        f"{images:>9,} {kind:8} {what:12}{cost.wall:>9.1f}{cost.cpu:>9.1f}{1e6 * cost.wall / images:>11.1f}"
        f"{cost.peak:>9.0f}{cost.own:>9.0f}  {cost.name}{verdict}",
        flush=True,
    )


def run(kind: str, images: int, folder: Path, until: str) -> None:
    """Measures one size and one kind of source, and prints a row for each command."""
    begun = time.perf_counter()
    source = make(kind, images, folder / "source")
    print(f"{images:>9,} {kind:8} made in {time.perf_counter() - begun:.0f} s", flush=True)
    root = folder / "project"
    copies.make(root)
    copies.run(root, "dvc", "init", "--quiet", "--force")
    params = yaml.safe_load((root / "params.yaml").read_text())
    params["ingest"] |= {"source": "folder" if kind == "folder" else "table", "path": str(source)}
    if kind == "parquet":
        params["ingest"]["source_options"] = {"path_column": None, "bytes_column": "image", "id_column": "id"}
    for stage, settings in SETTINGS.items():
        params[stage] |= settings
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    row(images, kind, "watch", measured(root, "dvc", "repro", "--single-item", "watch"))
    stages = STAGES[: STAGES.index(until) + 1]
    for stage in stages:
        row(images, kind, stage, measured(root, "dvc", "repro", "--single-item", stage))
    row(images, kind, "watch again", measured(root, "dvc", "repro", "--single-item", "watch"))
    nothing = measured(root, "dvc", "repro", until)
    assert nothing.output.count("Running stage") == 1, nothing.output  # only `watch` runs
    row(images, kind, "no-op", nothing)
    row(images, kind, "check", measured(root, "sightline", "check"))


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--kinds", nargs="+", choices=["folder", "parquet"], default=["folder", "parquet"])
    parser.add_argument("--until", choices=STAGES, default="evaluate", help="last stage to run")
    parser.add_argument("--folder", type=Path, help="working folder; default: the system's folder for temporary files")
    arguments = parser.parse_args()
    print(
        f"{'images':>9} {'kind':8} {'command':12}{'wall s':>9}{'CPU s':>9}{'µs/image':>11}{'peak MiB':>9}{'own MiB':>9}"
    )
    for images in arguments.sizes:
        for kind in arguments.kinds:
            with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="sightline-scale-") as folder:
                run(kind, images, Path(folder), arguments.until)


if __name__ == "__main__":
    main()
