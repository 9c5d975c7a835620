"""Cost of ingestion: its time relative to a bare loop (read the bytes, decode strictly, write Parquet), and its memory.

    python benchmarks/ingest.py [speed] [--images 20000] [--side 96] [--rounds 5]
    python benchmarks/ingest.py memory [--source ../shared/data/fashion-mnist] [--counts 7000 70000]

Speed: both read the same temporary folder of JPEGs and take turns, so a busy machine slows both. The result is the
ratio of the median throughputs. Above 1, checking, sorting, sharding and auditing cost less than the worker processes
gain. Target: at least 0.8.

Memory: the peak RSS of a fresh process that ingests the given number of images from a folder of IDX files, and the peak
total RSS of that process and its workers (sampled; shared pages are counted in each process).
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from sightline.config.compose import compose, typed
from sightline.imaging import decode
from sightline.sources import open_source
from sightline.stages.ingest.config import IngestConfig
from sightline.stages.ingest.stage import ingest

CLASSES = 10
TARGET = 0.8


def make_folder(root: Path, count: int, side: int) -> None:
    """Writes JPEGs of `side` pixels with about the file size of photographs: coarse patches and a little noise."""
    rng = np.random.default_rng(0)
    for number in range(count):
        patches = Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8))
        coarse = np.asarray(patches.resize((side, side), Image.Resampling.BICUBIC))
        fine = rng.normal(0, 6, (side, side, 3))
        picture = Image.fromarray(np.clip(coarse + fine, 0, 255).astype(np.uint8))
        stream = io.BytesIO()
        picture.save(stream, "JPEG", quality=90)
        path = root / f"class-{number % CLASSES}" / f"{number:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(stream.getvalue())


def bare(root: Path, out: Path) -> None:
    """The baseline for ingestion: a loop that checks, sorts, counts and compares nothing."""
    schema = pa.schema([("image", pa.binary()), ("label", pa.string())])
    rows: list[tuple[bytes, str]] = []
    with pq.ParquetWriter(out / "images.parquet", schema, compression="none") as writer:

        def flush() -> None:
            writer.write_table(pa.table([list(column) for column in zip(*rows, strict=True)], schema=schema))
            rows.clear()

        for path in sorted(root.rglob("*.jpg")):
            data = path.read_bytes()
            decode.decode(data)
            rows.append((data, path.parent.name))
            if len(rows) == 1024:
                flush()
        if rows:
            flush()


def configuration(*settings: str) -> IngestConfig:
    """Returns the settings of `conf/ingest/default.yaml` with overrides, given as on a stage's command line."""
    return typed(IngestConfig, compose(list(settings)).ingest, "ingest")


def ours(workers: int | None) -> Callable[[Path, Path], None]:
    """Returns ingestion with the given number of worker processes; None leaves the number to the stage."""

    def run(root: Path, out: Path) -> None:
        count = "null" if workers is None else workers
        config = configuration("ingest/source=folder", f"ingest.path={root}", f"ingest.workers={count}")
        ingest(open_source(config), config, out)

    return run


def ingest_idx(root: str, count: int) -> None:
    """Ingests `count` images of a folder of IDX files; prints how many were accepted, and its own peak RSS in KiB."""
    config = configuration("ingest/source=idx", f"ingest.path={root}", f"ingest.limit={count}")
    with tempfile.TemporaryDirectory() as folder:
        taken = ingest(open_source(config), config, Path(folder))["accepted"]
    print(taken, kibibytes(os.getpid(), "VmHWM"))


def kibibytes(pid: int, field: str) -> int:
    """Returns a field of /proc/PID/status in KiB, or 0 if the process is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{field}:")), 0)


def children(pid: int) -> list[int]:
    """Returns the ids of a process's running children."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def memory(source: str, counts: list[int]) -> None:
    """Prints a line for each number of images, and the ratio of the last peak to the first."""
    peaks: list[float] = []
    for count in counts:
        code = "import sys, ingest; ingest.ingest_idx(sys.argv[1], int(sys.argv[2]))"
        command = [sys.executable, "-c", code, source, str(count)]
        start = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=beside()) as process:
            together = 0
            while process.poll() is None:
                family = [process.pid, *children(process.pid)]
                together = max(together, sum(kibibytes(pid, "VmRSS") for pid in family))
                time.sleep(0.05)
            if process.returncode:
                raise SystemExit(f"ingestion of {count} images ended with code {process.returncode}")
            taken, peak = map(int, process.stdout.read().split()) if process.stdout else (0, 0)
        seconds = time.perf_counter() - start
        peaks.append(peak / 1024)
        print(f"{taken:7,} images  {peak / 1024:6,.0f} MiB  with workers {together / 1024:6,.0f} MiB  {seconds:6.1f} s")
    print(f"ratio of the last to the first {peaks[-1] / peaks[0]:.2f}")


def beside() -> dict[str, str]:
    """Returns the environment for a process that imports this file."""
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}


def main() -> None:
    """Runs the measurement that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", nargs="?", choices=["speed", "memory"], default="speed")
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--side", type=int, default=96, help="pixels; smaller images leave less to gain")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--source", default="../shared/data/fashion-mnist", help="memory: a folder of IDX files")
    parser.add_argument("--counts", type=int, nargs="+", default=[7_000, 70_000], help="memory: numbers of images")
    arguments = parser.parse_args()
    if arguments.mode == "memory":
        memory(arguments.source, arguments.counts)
    else:
        speed(arguments.images, arguments.side, arguments.rounds)


def speed(count: int, side: int, rounds: int) -> None:
    """Prints a line for each contender, and the ratio."""
    contenders = {"bare loop": bare, "ingest": ours(None), "ingest, one process": ours(0)}
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "images"
        make_folder(root, count, side)
        bare(root, Path(folder))  # brings the files into the page cache
        for _ in range(rounds):
            for name, run in contenders.items():
                out = Path(folder) / "out"
                out.mkdir()
                start = time.perf_counter()
                run(root, out)
                seconds[name].append(time.perf_counter() - start)
                shutil.rmtree(out)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    print(f"{count:,} JPEGs of {side} pixels, {os.cpu_count()} cores, {rounds} rounds")
    for name, median in medians.items():
        ratio = medians["bare loop"] / median
        print(f"{name:20} {median:6.2f} s  {count / median:7,.0f} images/s  ratio {ratio:.2f}")
    reached = medians["bare loop"] / medians["ingest"]
    print(f"ratio {reached:.2f}, target {TARGET}: {'reached' if reached >= TARGET else 'missed'}")


if __name__ == "__main__":
    main()
