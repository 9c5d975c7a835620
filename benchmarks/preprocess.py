"""Preprocessing against what a practitioner would write instead, and against itself when little has changed.

    python benchmarks/preprocess.py fashion --source data/fashion-mnist [--images 70000] [--rounds 5]
    python benchmarks/preprocess.py photos --source data/photographs [--images 20000] [--size 64]
    python benchmarks/preprocess.py change --source data/fashion-mnist [--images 60000]
    python benchmarks/preprocess.py memory --source data/fashion-mnist

`fashion` and `photos` run the contenders in turn, so that a busy machine slows all of them, and print ratios of the
medians: (a) a bare loop of the same calls in two processes, no shards, no index, no splits: target 0.85; (b) Hugging
Face `datasets.map(num_proc=2)`: target 1.5 (`pip install datasets`); (c) a PyTorch DataLoader with two workers over
an image folder: target 1.5. `photos` repeats the folder's images until there are enough. `change` preprocesses a set,
changes one image and preprocesses again: target 5 % of the full run. `memory` prints the peak of 7,000 and of 70,000
images: target no growth but the index's. The contract is that of `params.yaml`: it denoises, enhances and segments;
with `--decode-only` it decodes and resizes and no more.
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
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq

from sightline import files, images, records
from sightline.config import compose, typed
from sightline.contract.contract import Contract
from sightline.ingest import png
from sightline.preprocess.config import PreprocessConfig
from sightline.preprocess.stage import build_contract, preprocess
from sightline.preprocess.work import ANY_SIZE

PROCESSES = 2
Item = tuple[str, bytes, str]
"""Id, encoded bytes, label."""


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
    """Yields the JPEGs below a folder of one folder a class, again and again."""
    found = sorted(path for path in source.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    for number in range(count):
        path = found[number % len(found)]
        yield f"{number:06}", path.read_bytes(), path.parent.name


def write_raw(items: Iterator[Item], out: Path) -> None:
    """Writes what ingestion would."""
    out.mkdir()
    labels = set()

    def rows() -> Iterator[records.RawImage]:
        for identity, data, label in items:
            labels.add(label)
            info = images.inspect(data)
            sha = files.sha256(data)
            yield records.RawImage(identity, data, label, None, None, None, sha, info.format, info.width, info.height)

    records.write_raw_shards(rows(), out)
    records.write_classes(sorted(labels), out / records.CLASSES)


def write_folder(items: Iterator[Item], out: Path) -> None:
    """Writes one file an image, one folder a class."""
    for identity, data, label in items:
        suffix = "png" if data.startswith(b"\x89PNG") else "jpg"
        path = out / label / f"{identity}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def configuration(size: int, channels: int, decode_only: bool = False) -> PreprocessConfig:
    """Returns the configuration for images of this shape: with the steps of `params.yaml`, or none but resizing."""
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
    contract = Contract.from_dict(plain)
    encoded = pq.read_table(shard, columns=["image"])["image"].combine_chunks().field("bytes").to_pylist()
    np.save(out / f"{shard.stem}.npy", np.stack([contract.decode(data, ANY_SIZE) for data in encoded]))


def bare(raw: Path, out: Path, config: PreprocessConfig) -> None:
    """The same decoding and the same steps, shard by shard; labels, splits, digests and statistics left out."""
    plain = build_contract(config).to_dict()
    tasks = [(shard.path, out, plain) for shard in records.raw_shards(raw)]
    with multiprocessing.get_context("fork").Pool(PROCESSES) as pool:
        pool.map(_bare_shard, tasks, chunksize=1)


def ours(raw: Path, out: Path, config: PreprocessConfig) -> None:
    """The stage, with nothing remembered from before."""
    memo = out.parent / "memo"
    preprocess(raw, config, out, memo)
    shutil.rmtree(memo)


def _prepared(picture: Any, contract: Contract) -> Any:
    pixels = np.asarray(picture.convert("L" if contract.channels == 1 else "RGB"))
    if any(option.name != "none" for name, option in contract.steps.items() if name != "resize"):
        return contract(pixels.reshape(*pixels.shape[:2], contract.channels))
    if pixels.shape[:2] != contract.shape[:2]:
        pixels = cv2.resize(pixels, contract.shape[:2], interpolation=cv2.INTER_AREA)
    return pixels.reshape(contract.shape)


def hugging_face(raw: Path, out: Path, config: PreprocessConfig) -> Callable[[], None]:
    """Returns `datasets.map` over the raw shards, which are such a data set as they are."""
    import datasets

    datasets.disable_progress_bars()
    contract = build_contract(config)
    features = datasets.Features(
        {"image": datasets.Image(), "pixels": datasets.Array3D((config.size, config.size, config.channels), "uint8")}
    )
    whole = datasets.Dataset.from_parquet(
        [str(shard.path) for shard in records.raw_shards(raw)], cache_dir=str(out.parent / "hf"), columns=["image"]
    ).cast_column("image", datasets.Image())

    def run() -> None:
        made = whole.map(
            lambda row: {"pixels": _prepared(row["image"], contract)},
            num_proc=PROCESSES,
            remove_columns=["image"],
            features=datasets.Features({"pixels": features["pixels"]}),
            load_from_cache_file=False,
            cache_file_name=str(out.parent / "hf" / "mapped.arrow"),
        )
        assert len(made) == len(whole)

    return run


def data_loader(folder: Path, out: Path, config: PreprocessConfig) -> Callable[[], None]:
    """Returns a pass of a DataLoader over an image folder, its batches gathered in an array."""
    import torch
    from torch.utils.data import DataLoader, Dataset

    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    contract = build_contract(config)

    class Folder(Dataset[torch.Tensor]):
        def __len__(self) -> int:
            return len(paths)

        def __getitem__(self, index: int) -> torch.Tensor:
            from PIL import Image

            with Image.open(paths[index]) as picture:
                return torch.from_numpy(_prepared(picture, contract).copy())

    def run() -> None:
        loader = DataLoader(Folder(), batch_size=256, num_workers=PROCESSES)
        np.save(out / "all.npy", torch.cat(list(loader)).numpy())

    return run


# --- what is measured ----------------------------------------------------------------------------------------------


def compare(items: Callable[[], Iterator[Item]], config: PreprocessConfig, rounds: int, only: list[str]) -> None:
    """Prints seconds, images per second and the ratios."""
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        raw, folder, out = home / "raw", home / "folder", home / "out"
        write_raw(items(), raw)
        count = sum(pq.read_metadata(shard.path).num_rows for shard in records.raw_shards(raw))
        contenders: dict[str, Callable[[], None]] = {
            "sightline": lambda: ours(raw, out, config),
            "bare loop": lambda: bare(raw, out, config),
        }
        if "datasets" in only:
            contenders["datasets.map"] = hugging_face(raw, out, config)
        if "loader" in only:
            write_folder(items(), folder)
            contenders["DataLoader"] = data_loader(folder, out, config)
        seconds: dict[str, list[float]] = {name: [] for name in contenders}
        cpu: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(rounds):
            for name, run in contenders.items():
                out.mkdir()
                os.sync()  # what the one before has left to be written to the disk is not this one's business
                begin, used = time.perf_counter(), _cpu()
                run()
                seconds[name].append(time.perf_counter() - begin)
                cpu[name].append(_cpu() - used)
                shutil.rmtree(out)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, median in medians.items():
        target = {"bare loop": "target 0.85", "datasets.map": "target 1.5", "DataLoader": "target 1.5"}.get(name, "")
        print(
            f"{name:14} {median:7.2f} s  {count / median:8,.0f} images/s  "
            f"{statistics.median(cpu[name]):7.2f} s of CPU  sightline is {median / medians['sightline']:.2f} "
            f"times as fast  {target}"
        )


def _cpu() -> float:
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def change(items: Callable[[], Iterator[Item]], config: PreprocessConfig, rounds: int) -> None:
    """Prints what preprocessing costs after one image has changed, as a share of the full run."""

    def one_other() -> Iterator[Item]:
        for number, (identity, data, label) in enumerate(items()):
            if number == 12_345 % 60_000:
                data = images.encode_png(255 - images.decode(data, config.channels))
            yield identity, data, label

    full, after = [], []
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        write_raw(items(), home / "raw")
        write_raw(one_other(), home / "changed")
        for _ in range(rounds):
            for name, seconds in (("raw", full), ("changed", after)):
                (home / "out").mkdir()
                begin = time.perf_counter()
                preprocess(home / name, config, home / "out", home / "memo")
                seconds.append(time.perf_counter() - begin)
                shutil.rmtree(home / "out")
            shutil.rmtree(home / "memo")
    share = statistics.median(after) / statistics.median(full)
    print(
        f"full {statistics.median(full):.2f} s, one image changed {statistics.median(after):.3f} s: {share:.1%}, "
        f"target 5 %: {'reached' if share <= 0.05 else 'missed'}"
    )


def memory(source: Path) -> None:
    """Prints the peak memory of the stage's processes for 7,000 and for 70,000 images."""
    with tempfile.TemporaryDirectory() as temporary:
        for count in (7_000, 70_000):
            raw = Path(temporary) / f"raw-{count}"
            write_raw(fashion(source, count), raw)
            command = [sys.executable, __file__, "stage", "--source", str(raw)]
            print(
                f"{count:7,} images: {subprocess.run(command, check=True, capture_output=True, text=True).stdout}",
                end="",
            )


def stage(raw: Path) -> None:
    """Preprocesses one set and prints the peaks of this process and of its largest helper."""
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary) / "out"
        out.mkdir()
        preprocess(raw, configuration(28, 1), out, Path(temporary) / "memo")
    # Not by getrusage: a process inherits the peak of the one that starts it.
    status = Path("/proc/self/status").read_text()
    own = int(status.split("VmHWM:")[1].split()[0]) / 1024
    helper = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"{own:.0f} MiB, largest helper {helper:.0f} MiB")


def main() -> None:
    """Runs one measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["fashion", "photos", "change", "memory", "stage"])
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--images", type=int)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--decode-only", action="store_true")
    parser.add_argument("--against", nargs="*", default=["datasets", "loader"], choices=["datasets", "loader"])
    given = parser.parse_args()
    with contextlib.suppress(BrokenPipeError):
        if given.what == "fashion":
            count = given.images or 70_000
            compare(
                lambda: fashion(given.source, count),
                configuration(28, 1, given.decode_only),
                given.rounds,
                given.against,
            )
        elif given.what == "photos":
            count = given.images or 20_000
            compare(
                lambda: photos(given.source, count),
                configuration(given.size, 3, given.decode_only),
                given.rounds,
                given.against,
            )
        elif given.what == "change":
            count = given.images or 60_000
            change(lambda: fashion(given.source, count), configuration(28, 1, given.decode_only), given.rounds)
        elif given.what == "memory":
            memory(given.source)
        else:
            stage(given.source)


if __name__ == "__main__":
    main()
