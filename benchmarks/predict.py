"""Prediction compared with the loop that a practitioner would write, its cold start, and the cost of novelty.

    python benchmarks/predict.py throughput models/bundle --source data/fashion-mnist [--images 10000] [--rounds 5]
    python benchmarks/predict.py start models/bundle [--rounds 9]
    python benchmarks/predict.py novelty models/bundle --source data/fashion-mnist [--images 5000] [--rounds 9]

`throughput` writes Fashion-MNIST's images as PNG files and alternates between `Bundle.predict` and two bare loops over
the files, which decode with Pillow, run ONNX Runtime on batches of 64, and check nothing. The first loop only resizes;
the second runs the bundle's preprocessing steps on each image, so it gives the same labels. It prints the ratios of the
median throughputs; the target is at least 0.8 of the second loop.

`start` runs `sightline predict` on one image in a new process. Target: a median of 1.0 s.

`novelty` alternates, for each form of the network, between `Bundle.predict` with the bundle and with a copy whose
network computes no novelty. Target: novelty takes at most 5 % more CPU time, as the median over the rounds, and at most
10 % more space.
"""

from __future__ import annotations

import argparse
import gzip
import json
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
import onnx
import onnxruntime
from PIL import Image

from sightline.core import files
from sightline.imaging import decode
from sightline.imaging.transform.pipeline import Transform
from sightline.predict import manifest
from sightline.predict.bundle import Bundle

BATCH = 64
COMMAND = [sys.executable, "-c", "from sightline.cli import app; app()"]


def write_pictures(source: Path, folder: Path, count: int) -> list[Path]:
    """Writes the first `count` test images of Fashion-MNIST as PNG files, and returns their paths."""
    pixels = np.frombuffer(gzip.decompress((source / "t10k-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16)
    paths = []
    for place, image in enumerate(pixels.reshape(-1, 28, 28, 1)[:count]):
        paths.append(folder / f"{place:05}.png")
        paths[-1].write_bytes(decode.encode_png(image))
    return paths


def bare(session: onnxruntime.InferenceSession, transform: Transform, paths: list[Path], with_steps: bool) -> list[int]:
    """Predicts with the loop that anyone would write first; returns class indices.

    Args:
        session: The network.
        transform: The bundle's preprocessing.
        paths: Image files.
        with_steps: Whether to run the bundle's preprocessing steps instead of only resizing.
    """
    height, width, channels = transform.shape
    mode = "L" if channels == 1 else "RGB"
    found: list[int] = []
    for start in range(0, len(paths), BATCH):
        decoded = []
        for path in paths[start : start + BATCH]:
            image = Image.open(path).convert(mode)
            if with_steps:
                decoded.append(transform(np.asarray(image).reshape(image.height, image.width, channels)))
            else:
                resized = image if image.size == (width, height) else image.resize((width, height))
                decoded.append(np.asarray(resized).reshape(height, width, channels))
        output = session.run(None, {"images": np.stack(decoded)})[0]
        found.extend(output.argmax(axis=1).tolist())
    return found


def seconds(work: Callable[[], object]) -> float:
    """Times one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def throughput(folder: Path, source: Path, count: int, rounds: int) -> None:
    """Prints the images per second of each contender, and the ratios."""
    bundle = Bundle.load(folder, model="fp32")  # the form that the loops use
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    with tempfile.TemporaryDirectory() as temporary:
        paths = write_pictures(source, Path(temporary), count)
        contenders: dict[str, Callable[[], object]] = {
            "resizing": lambda: bare(session, bundle.transform, paths, with_steps=False),
            "with steps": lambda: bare(session, bundle.transform, paths, with_steps=True),
            "sightline": lambda: [p.label for p in bundle.predict(paths)],
        }
        labels = [bundle.classes[k] for k in bare(session, bundle.transform, paths[:500], with_steps=True)]
        agree = np.mean([a == p.label for a, p in zip(labels, bundle.predict(paths[:500]), strict=True)])
        print(f"the loop with the bundle's steps agrees on {100 * agree:.1f} % of 500 images")
        times: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(rounds):
            for name, work in contenders.items():  # alternating, so that a busy machine slows all of them
                times[name].append(seconds(work))
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    for name, median in medians.items():
        spread = f"{count / max(times[name]):,.0f} to {count / min(times[name]):,.0f}"
        print(f"{name:>10}: {count / median:8,.0f} images/s ({spread})")
    print(f"ratio to the loop that resizes {medians['resizing'] / medians['sightline']:.2f}")
    print(f"ratio to the loop with the steps {medians['with steps'] / medians['sightline']:.2f}, target 0.8")


def start(folder: Path, rounds: int) -> None:
    """Prints how long one image takes in a new process."""
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "one.png"
        path.write_bytes(decode.encode_png(np.random.default_rng(0).integers(0, 256, (28, 28, 1), np.uint8)))
        command = [*COMMAND, "predict", str(folder), str(path)]
        walls, processors = [], []
        for _ in range(rounds):
            before = os.times()
            walls.append(seconds(lambda: subprocess.run(command, check=True, capture_output=True)))
            used = os.times()
            processors.append(sum(used[2:4]) - sum(before[2:4]))
    print(f"cold start: {statistics.median(walls):.2f} s ({min(walls):.2f} to {max(walls):.2f}), target 1.0")
    print(f"processor:  {statistics.median(processors):.2f} s; load of the machine {os.getloadavg()[0]:.1f}")


def without_novelty(folder: Path, copy: Path) -> None:
    """Copies a bundle, and removes novelty from the copy's networks."""
    shutil.copytree(folder, copy)
    for name in manifest.MODELS.values():
        if (copy / name).is_file():
            proto = onnx.load(copy / name)
            graph = proto.graph
            for part in (graph.node, graph.initializer, graph.output):
                kept = [one for one in part if not one.name.startswith(manifest.NOVELTY)]
                del part[:]
                part.extend(kept)
            (copy / name).write_bytes(proto.SerializeToString())
    content = json.loads((copy / manifest.CALIBRATION).read_bytes())
    content.pop("novelty")
    files.write_json(copy / manifest.CALIBRATION, content)
    old = json.loads((copy / manifest.MANIFEST).read_bytes())
    (copy / manifest.MANIFEST).unlink()
    manifest.write_manifest(copy, old["lineage"], old["default"], old["proof"])


def novelty(folder: Path, source: Path, count: int, rounds: int) -> None:
    """Prints the cost of novelty in time and size."""
    with tempfile.TemporaryDirectory() as temporary:
        paths = write_pictures(source, Path(temporary), count)
        plain = Path(temporary, "plain")
        without_novelty(folder, plain)
        for form, name in manifest.MODELS.items():
            if not (folder / name).is_file():
                continue
            pair = [Bundle.load(one, form) for one in (plain, folder)]
            taken: list[list[float]] = [[], []]
            for turn in range(rounds + 1):
                for which in (0, 1) if turn % 2 else (1, 0):
                    begun = time.process_time()  # CPU time of all threads: wall-clock time would include other programs
                    list(pair[which].predict(paths))
                    taken[which].append(time.process_time() - begun)
            ratios = [after / before for before, after in zip(taken[0][1:], taken[1][1:], strict=True)]
            speeds = [count / statistics.median(times[1:]) for times in taken]
            cost = 1 - 1 / statistics.median(ratios)
            print(network_cost([one / name for one in (plain, folder)], pair[0].prepare(paths[0].read_bytes())))
            print(
                f"{form}: {speeds[0]:,.0f} images a second of a processor without novelty, {speeds[1]:,.0f} with it; "
                f"{cost:+.1%} of these, median of {rounds} ({1 - 1 / min(ratios):+.1%} to {1 - 1 / max(ratios):+.1%})"
            )
        sizes = [sum(path.stat().st_size for path in one.iterdir()) for one in (plain, folder)]
        print(f"bundle: {sizes[0]:,} bytes without novelty, {sizes[1]:,} with it: {sizes[1] / sizes[0] - 1:+.1%}")


def network_cost(networks: list[Path], image: np.ndarray, rounds: int = 300) -> str:
    """Describes the cost of novelty in the network's own time, on one thread; many short rounds average out noise.

    Args:
        networks: The network without novelty and with it.
        image: A preprocessed image, which is repeated to make a batch.
        rounds: Number of batches for each network.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    sessions = [onnxruntime.InferenceSession(str(one), options, ["CPUExecutionProvider"]) for one in networks]
    batch = {manifest.INPUT: np.repeat(image[None], BATCH, axis=0)}
    taken: list[list[float]] = [[], []]
    for turn in range(rounds):
        for which in (0, 1) if turn % 2 else (1, 0):
            begun = time.thread_time()
            sessions[which].run(None, batch)
            taken[which].append(time.thread_time() - begun)
    ratios = np.array(taken[1][10:]) / np.array(taken[0][10:])
    low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75]) - 1
    milliseconds = [1e3 * statistics.median(one) / BATCH for one in taken]
    return (
        f"network alone, one thread: {milliseconds[0]:.4f} ms an image without novelty, {milliseconds[1]:.4f} with it; "
        f"{middle:+.1%}, median of {len(ratios)} pairs (middle half {low:+.1%} to {high:+.1%})"
    )


def main() -> None:
    """Runs the measurement that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["throughput", "start", "novelty"])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--source", type=Path, default=Path("../shared/data/fashion-mnist"))
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    if given.what == "start":
        start(given.bundle, given.rounds)
    elif given.what == "novelty":
        novelty(given.bundle, given.source, given.images, given.rounds)
    else:
        throughput(given.bundle, given.source, given.images, given.rounds)


if __name__ == "__main__":
    main()
