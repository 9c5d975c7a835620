"""Pretrained networks on few images: linear probe, fine-tuning and variants of it, HOG, and a network from scratch.

    python benchmarks/pretrained.py [hands fashion] [--side 64] [--per-class 10 50] [--ways probe finetune ...]

Uses photographs of hands (10 classes) and Fashion-MNIST (300 images per class), from the folder SIGHTLINE_SHARED_DATA.
Each dataset is ingested and preprocessed once by the pipeline itself. The images of each class are shuffled once; the
training split consists of the first of them, and the validation split is reduced in the same way. The test split is the
same for all. Everything runs on one thread. The output shows the accuracy on the test split and the CPU seconds,
including the computation of features; `--seeds 3` repeats this with other draws and prints means.
"""

from __future__ import annotations

import argparse
import gzip
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("SIGHTLINE_SHARED_DATA", ROOT / ".." / "shared" / "data"))
COMMON = {"trainer": "cpu", "threads": 1, "batch_size": 32, "max_epochs": 30, "lr": 0.002, "patience": 30}
LITE = {**COMMON, "model": "efficientnet_lite0"}


def finetune(**recipe: Any) -> dict[str, Any]:
    """Returns the settings of fine-tuning, with overrides of the recipe's settings."""
    return {**LITE, "recipe": "finetune", "recipe_options": recipe}


WAYS: dict[str, dict[str, Any]] = {
    "probe": {**LITE, "recipe": "probe"},
    "finetune": finetune(),
    "head at zero": finetune(head_from_probe=False),
    "one rate": finetune(layer_decay=1.0),
    "full rate": finetune(lr_mult=1.0),
    "no average": finetune(ema_decay=None),
    "learnt statistics": finetune(frozen_statistics=False),
    "no dropout": {**finetune(), "model_options": {"drop_rate": 0.0}},
    "stochastic depth": {**finetune(), "model_options": {"drop_path_rate": 0.2}},
    "augment none": {**finetune(), "augment": "none"},
    "augment standard": {**finetune(), "augment": "standard"},
    "plain": {**LITE, "recipe": "scratch"},
    "scratch cnn": {**COMMON, "model": "cnn", "max_epochs": 60, "patience": 60},
}
"""Each way's settings of the train section; `plain` is only pretrained weights and a head initialised to zero."""


def pictures(name: str, folder: Path) -> Path:
    """Returns a folder of images with one folder per class."""
    if name == "hands":
        return SHARED / "sign-language-digits"
    from PIL import Image

    read = [gzip.decompress((SHARED / f"fashion-mnist/train-{part}.gz").read_bytes()) for part in PARTS]
    images = np.frombuffer(read[0], np.uint8, offset=16).reshape(-1, 28, 28)
    labels = np.frombuffer(read[1], np.uint8, offset=8)
    for label in range(10):
        place = folder / f"class {label}"
        place.mkdir(parents=True)
        for row in np.flatnonzero(labels == label)[:300]:
            Image.fromarray(images[row]).save(place / f"{row:05}.png")
    return folder


PARTS = ("images-idx3-ubyte", "labels-idx1-ubyte")


def part(whole: Path, place: Path, per_class: int, seed: int) -> Path:
    """Writes a processed set with `per_class` training images per class, and half as many validation images."""
    shutil.copytree(whole, place)
    index = pq.read_table(place / "index.parquet")
    order = np.random.default_rng(seed).permutation(len(index))
    labels, splits = (index[name].to_numpy(zero_copy_only=False) for name in ("label", "split"))
    kept = list(np.flatnonzero(splits == "test"))
    for split, count in (("train", per_class), ("val", max(2, per_class // 2))):
        for label in np.unique(labels):
            kept += [row for row in order if labels[row] == label and splits[row] == split][:count]
    table: pa.Table = index.take(pa.array(sorted(kept)))
    pq.write_table(table.take(pc.sort_indices(table["id"])), place / "index.parquet")
    return place


def trained(data: Path, knobs: dict[str, Any]) -> float:
    """Trains with the given settings; returns the accuracy on the test split."""
    from sightline.api.settings import section
    from sightline.datasets.processed_set import ProcessedSet
    from sightline.models.inference import Predictor
    from sightline.stages.evaluate.scoring import predict_split
    from sightline.stages.train.config import TrainConfig
    from sightline.stages.train.stage import TrainingRun

    settings, _ = section("train", TrainConfig, knobs)
    with tempfile.TemporaryDirectory() as folder:
        TrainingRun(data, settings).run(Path(folder), Path(folder) / "history.csv")
        test = ProcessedSet(data).split("test")
        answers = predict_split(Predictor.load(Path(folder)), test, 64).argmax(axis=1)
    return float((answers == test.labels).mean())


def baseline(data: Path, method: str) -> float:
    """Fits a baseline method; returns the accuracy on the test split."""
    from sightline.api.settings import section
    from sightline.datasets.processed_set import ProcessedSet
    from sightline.stages.baseline.config import BaselineConfig
    from sightline.stages.baseline.stage import run_methods

    settings, _ = section("baseline", BaselineConfig, {"methods": [method], "robustness_images": 0})
    with tempfile.TemporaryDirectory() as folder:
        return run_methods(ProcessedSet(data), settings, Path(folder) / "out")[0].numbers["accuracy"]


def main() -> None:
    """Prints one line for each dataset, number of images and way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", default=["hands", "fashion"])
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--per-class", type=int, nargs="+", default=[10, 50])
    parser.add_argument("--ways", nargs="+", default=["hog_svm", *WAYS])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=int)
    given = parser.parse_args()
    import torch

    import sightline

    torch.set_num_threads(1)
    for name in given.sets:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            raw = sightline.ingest(pictures(name, root / "pictures"), folder=root)
            whole = sightline.preprocess(raw, size=given.side, channels=3, folder=root)
            for count in given.per_class:
                parts = [part(whole.path, root / f"{count}-{seed}", count, seed) for seed in range(given.seeds)]
                for way in given.ways:
                    began, found = time.process_time(), []
                    for data in parts:
                        knobs = WAYS.get(way)
                        if knobs and given.epochs:
                            knobs = {**knobs, "max_epochs": given.epochs}
                        found.append(baseline(data, way) if knobs is None else trained(data, knobs))
                    seconds = (time.process_time() - began) / len(parts)
                    each = " ".join(f"{accuracy:.4f}" for accuracy in found)
                    mean = sum(found) / len(found)
                    print(
                        f"{name} {given.side} px {count:>3} a class  {way:<18} {mean:.4f}  {seconds:6.1f} s  ({each})"
                    )


if __name__ == "__main__":
    main()
