"""Preprocessing compared with what a practitioner would write instead, and with a rerun after a small change.

    python benchmarks/preprocess.py fashion --source data/fashion-mnist [--images 70000] [--rounds 5]
    python benchmarks/preprocess.py photos --source data/photographs [--images 20000] [--size 64]
    python benchmarks/preprocess.py change --source data/fashion-mnist [--images 60000]
    python benchmarks/preprocess.py memory --source data/fashion-mnist

In `fashion` and `photos`, the contenders take turns, so a busy machine slows all of them. The output has the ratios of
the medians to (a) a bare loop of the same calls in two processes, without an index, splits or statistics (target 0.85);
(b) Hugging Face's `datasets.map(num_proc=2)` (target 1.5; needs `pip install datasets`); (c) a PyTorch DataLoader with
two workers over an image folder (target 1.5). `photos` repeats the folder's images until there are enough.

`change` preprocesses a set, changes one image (a different one each round), and preprocesses it again. Target: at most
5 % of the time of the full run.

`memory` prints the peak memory for 7,000 and for 70,000 images. Target: no growth except that of the index.

The transform has the steps of `params.yaml` (gaussian, autocontrast, threshold); with `--decode-only`, it only decodes
and resizes.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import multiprocessing
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq

from sightline.config.compose import compose, typed
from sightline.core import files
from sightline.datasets import raw_set
from sightline.imaging import decode, png
from sightline.imaging.image_file import ANY_SIZE
from sightline.imaging.transform.pipeline import Transform
from sightline.stages.preprocess.config import PreprocessConfig
from sightline.stages.preprocess.stage import build_transform, preprocess

PROCESSES = 2
Item = tuple[str, bytes, str]
"""Id, encoded bytes and label of an image."""


def fashion(source: Path, count: int) -> Iterator[Item]:
    """Yields images of Fashion-MNIST's IDX files, as PNG."""
    number = 0
    for part in ("train", "t10k"):
        pixels = gzip.decompress((source / f"{part}-images-idx3-ubyte.gz").read_bytes())[16:]
        labels = gzip.decompress((source / f"{part}-labels-idx1-ubyte.gz").read_bytes())[8:]
        for at, label in enumerate(labels):
            if number == count:
                return
            yield f"{number:06}", png.encode(pixels[784 * at : 784 * (at + 1)], 28, 28, 1), str(label)
            number += 1


def photos(source: Path, count: int) -> Iterator[Item]:
    """Yields `count` JPEGs from a folder with one folder per class, repeating them as needed."""
    found = sorted(path for path in source.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    for number in range(count):
        path = found[number % len(found)]
        yield f"{number:06}", path.read_bytes(), path.parent.name


def write_raw(items: Iterator[Item], out: Path) -> None:
    """Writes the images as a raw set, as ingestion would."""
    out.mkdir()
    labels = set()

    def rows() -> Iterator[raw_set.RawImage]:
        for identity, data, label in items:
            labels.add(label)
            info = decode.decode_with_info(data)[0]
            sha = files.sha256(data)
            yield raw_set.RawImage(identity, data, label, None, None, None, sha, info.format, info.width, info.height)

    raw_set.write_raw_shards(rows(), out)
    raw_set.write_classes(sorted(labels), out / raw_set.CLASSES)
    raw_set.write_near([], out / raw_set.NEAR)


def write_folder(items: Iterator[Item], out: Path) -> None:
    """Writes one file per image, and one folder per class."""
    for identity, data, label in items:
        suffix = "png" if data.startswith(b"\x89PNG") else "jpg"
        path = out / label / f"{identity}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def configuration(size: int, channels: int, decode_only: bool = False) -> PreprocessConfig:
    """Returns the configuration for images of this shape: with the steps of `params.yaml`, or with resizing only."""
    options = [f"preprocess.size={size}", f"preprocess.channels={channels}"]
    if not decode_only:
        options += ["preprocess/denoise=gaussian", "preprocess/enhance=autocontrast", "preprocess/segment=threshold"]
    return typed(
        PreprocessConfig,
        compose([*options, f"preprocess.backend.workers={PROCESSES}"]).preprocess,
        "preprocess",
    )


# --- contenders ----------------------------------------------------------------------------------------------------


def _bare_shard(task: tuple[Path, Path, dict[str, Any]]) -> None:
    cv2.setNumThreads(1)
    shard, out, plain = task
    transform = Transform.from_dict(plain)
    encoded = pq.read_table(shard, columns=["image"])["image"].combine_chunks().field("bytes").to_pylist()
    np.save(out / f"{shard.stem}.npy", np.stack([transform.decode(data, ANY_SIZE) for data in encoded]))


def bare(raw: Path, out: Path, config: PreprocessConfig) -> None:
    """The same decoding and steps, shard by shard, without labels, splits, digests and statistics."""
    plain = build_transform(config).to_dict()
    tasks = [(shard.path, out, plain) for shard in raw_set.raw_shards(raw)]
    with multiprocessing.get_context("fork").Pool(PROCESSES) as pool:
        pool.map(_bare_shard, tasks, chunksize=1)


def ours(raw: Path, out: Path, config: PreprocessConfig) -> None:
    """The stage, without a cache of earlier results."""
    cache = out.parent / "memo"
    preprocess(raw, config, out, cache)
    shutil.rmtree(cache)


def _prepared(picture: Any, transform: Transform) -> Any:
    pixels = np.asarray(picture.convert("L" if transform.channels == 1 else "RGB"))
    if any(option.name != "none" for name, option in transform.steps.items() if name != "resize"):
        return transform(pixels.reshape(*pixels.shape[:2], transform.channels))
    if pixels.shape[:2] != transform.shape[:2]:
        pixels = cv2.resize(pixels, transform.shape[:2], interpolation=cv2.INTER_AREA)
    return pixels.reshape(transform.shape)


def hugging_face(raw: Path, out: Path, config: PreprocessConfig) -> Callable[[], None]:
    """Returns `datasets.map` over the raw shards, which `datasets` can read as they are."""
    import datasets

    datasets.disable_progress_bars()
    transform = build_transform(config)
    features = datasets.Features(
        {"image": datasets.Image(), "pixels": datasets.Array3D((config.size, config.size, config.channels), "uint8")}
    )
    whole = datasets.Dataset.from_parquet(
        [str(shard.path) for shard in raw_set.raw_shards(raw)], cache_dir=str(out.parent / "hf"), columns=["image"]
    ).cast_column("image", datasets.Image())

    def run() -> None:
        made = whole.map(
            lambda row: {"pixels": _prepared(row["image"], transform)},
            num_proc=PROCESSES,
            remove_columns=["image"],
            features=datasets.Features({"pixels": features["pixels"]}),
            load_from_cache_file=False,
            cache_file_name=str(out.parent / "hf" / "mapped.arrow"),
        )
        assert len(made) == len(whole)

    return run


def data_loader(folder: Path, out: Path, config: PreprocessConfig) -> Callable[[], None]:
    """Returns a pass of a DataLoader over an image folder, with its batches collected in one array."""
    import torch
    from torch.utils.data import DataLoader, Dataset

    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    transform = build_transform(config)

    class Folder(Dataset[torch.Tensor]):
        def __len__(self) -> int:
            return len(paths)

        def __getitem__(self, index: int) -> torch.Tensor:
            from PIL import Image

            with Image.open(paths[index]) as picture:
                return torch.from_numpy(_prepared(picture, transform).copy())

    def run() -> None:
        loader = DataLoader(Folder(), batch_size=256, num_workers=PROCESSES)
        np.save(out / "all.npy", torch.cat(list(loader)).numpy())

    return run


# --- what is measured ----------------------------------------------------------------------------------------------


def compare(items: Callable[[], Iterator[Item]], config: list[str], rounds: int, only: list[str]) -> None:
    """Prints seconds, images per second and the ratios; each run is a separate process."""
    roads = ["sightline", "bare loop", *only]
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        write_raw(items(), home / "raw")
        count = sum(pq.read_metadata(shard.path).num_rows for shard in raw_set.raw_shards(home / "raw"))
        if "DataLoader" in only:
            write_folder(items(), home / "folder")
        seconds: dict[str, list[float]] = {name: [] for name in roads}
        cpu: dict[str, list[float]] = {name: [] for name in roads}
        for _ in range(rounds):
            for name in roads:
                took, used = alone("road", "--source", str(home), "--road", name, *config)
                seconds[name].append(took)
                cpu[name].append(used)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, median in medians.items():
        target = {"bare loop": "target 0.85", "datasets.map": "target 1.5", "DataLoader": "target 1.5"}.get(name, "")
        print(
            f"{name:14} {median:7.2f} s  {count / median:8,.0f} images/s  "
            f"{statistics.median(cpu[name]):7.2f} s of CPU  sightline is {median / medians['sightline']:.2f} "
            f"times as fast  {target}"
        )


def alone(*arguments: str) -> list[float]:
    """Runs a command of this file in a separate process, with the environment variables that the stage sets.

    Returns:
        The last two numbers that it prints.
    """
    surroundings = {"OPENBLAS_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"}
    result = subprocess.run(
        [sys.executable, __file__, *arguments],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **surroundings},
    )
    return [float(word) for word in result.stdout.split()[-2:]]


def road(home: Path, name: str, config: PreprocessConfig) -> None:
    """Runs one contender after its imports, and prints its wall-clock and CPU seconds."""
    raw, out = home / "raw", home / "out"
    out.mkdir()
    run: Callable[[], object]
    match name:
        case "sightline":
            run = partial(ours, raw, out, config)
        case "full":
            run = partial(preprocess, raw, config, out, home / "memo")
        case "changed":
            run = partial(preprocess, home / "changed", config, out, home / "memo")
        case "bare loop":
            run = partial(bare, raw, out, config)
        case "datasets.map":
            run = hugging_face(raw, out, config)
        case _:
            run = data_loader(home / "folder", out, config)
    os.sync()  # so that pending writes of the previous contender do not count
    begin, used = time.perf_counter(), _cpu()
    run()
    took = time.perf_counter() - begin
    print(took, _cpu() - used)
    shutil.rmtree(out)


def _cpu() -> float:
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def change(items: Callable[[], Iterator[Item]], config: list[str], channels: int, rounds: int) -> None:
    """Prints the time after a change of one image, a different one each round, relative to a full run."""
    seconds: dict[str, list[float]] = {"full": [], "changed": []}
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        write_raw(items(), home / "raw")
        count = sum(pq.read_metadata(shard.path).num_rows for shard in raw_set.raw_shards(home / "raw"))
        for number in range(rounds):
            write_raw(with_another(items(), count * (2 * number + 1) // (2 * rounds), channels), home / "changed")
            for name, times in seconds.items():
                times.append(alone("road", "--source", str(home), "--road", name, *config)[0])
            shutil.rmtree(home / "memo")
            shutil.rmtree(home / "changed")
    full, after = (statistics.median(times) for times in seconds.values())
    print(
        f"full {full:.2f} s, one image changed {after:.3f} s: {after / full:.1%}, "
        f"target 5 %: {'reached' if after <= 0.05 * full else 'missed'}"
    )


def with_another(items: Iterator[Item], place: int, channels: int) -> Iterator[Item]:
    """Yields the images, with the one at `place` replaced by its negative."""
    for number, (identity, data, label) in enumerate(items):
        changed = decode.encode_png(255 - decode.decode(data, channels)) if number == place else data
        yield identity, changed, label


def memory(source: Path) -> None:
    """Prints the peak memory of the stage's processes for 7,000 and for 70,000 images."""
    with tempfile.TemporaryDirectory() as temporary:
        for count in (7_000, 70_000):
            raw = Path(temporary) / f"raw-{count}"
            write_raw(fashion(source, count), raw)
            own, worker = alone("stage", "--source", str(raw))
            print(f"{count:7,} images: {own:.0f} MiB, largest worker {worker:.0f} MiB")


def stage(raw: Path, config: PreprocessConfig) -> None:
    """Preprocesses one set; prints the peak memory, in MiB, of this process and of its largest worker."""
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary) / "out"
        out.mkdir()
        preprocess(raw, config, out, Path(temporary) / "memo")
    # Not from getrusage: a process inherits the peak of its parent.
    status = Path("/proc/self/status").read_text()
    own = int(status.split("VmHWM:")[1].split()[0]) / 1024
    worker = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(own, worker)


def main() -> None:
    """Runs one measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["fashion", "photos", "change", "memory", "stage", "road"])
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--images", type=int)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int)
    parser.add_argument("--channels", type=int)
    parser.add_argument("--decode-only", action="store_true")
    peers = ["datasets.map", "DataLoader"]
    parser.add_argument("--against", nargs="*", default=peers, choices=peers)
    parser.add_argument("--road", help=argparse.SUPPRESS)
    given = parser.parse_args()
    photographs = given.what == "photos"
    size, channels = given.size or (64 if photographs else 28), given.channels or (3 if photographs else 1)
    config = configuration(size, channels, given.decode_only)
    options = ["--size", str(size), "--channels", str(channels), *["--decode-only"] * given.decode_only]
    with contextlib.suppress(BrokenPipeError):
        match given.what:
            case "fashion" | "photos":
                count = given.images or (20_000 if photographs else 70_000)
                source = partial(photos if photographs else fashion, given.source, count)
                compare(source, options, given.rounds, given.against)
            case "road":
                road(given.source, given.road, config)
            case "change":
                change(partial(fashion, given.source, given.images or 60_000), options, channels, given.rounds)
            case "memory":
                memory(given.source)
            case _:
                stage(given.source, config)


if __name__ == "__main__":
    main()
