"""Overhead of training on top of the network itself: the data loader, and Lightning's training loop.

    python benchmarks/train.py loader [--images 60000] [--rounds 5]
    python benchmarks/train.py step [--rounds 5] [--threads 2] [--models cnn resnet18]

Loader: images per second without a model, relative to a bare `memmap[index]` gather of the same batches (target: at
least 0.8), and to a DataLoader with 2 workers over the same images as PNG files (target: at least 10).

Step: images per second of `stages.train.fit` in its steady state (epochs after the first) with augmentation `standard`,
relative to a bare PyTorch loop over one batch of random tensors in memory with the same network, batch size, optimiser,
memory format and number of threads. Target: at least 0.95, for resnet18 at 32x32x3 and cnn at 28x28.

The contenders take turns, so a busy machine slows all of them. The output has the medians, and the median of the
rounds' ratios.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sightline.config.compose import compose, typed
from sightline.core import files
from sightline.datasets.processed_set import INDEX, INDEX_SCHEMA, TRANSFORM, ProcessedSet
from sightline.datasets.raw_set import CLASSES, write_classes
from sightline.stages.train.build import loaders, network
from sightline.stages.train.config import TrainConfig
from sightline.stages.train.fit import fit
from sightline.stages.train.samplers import EpochBatchSampler, EpochSampler

BATCH = 128
MODELS = {"cnn": ((28, 28, 1), 50), "resnet18": ((32, 32, 3), 8)}
"""Each model's image shape, and its number of batches per epoch."""


def random_set(root: Path, count: int, shape: tuple[int, int, int]) -> ProcessedSet:
    """Writes random images of ten classes as a processed set: `count` for training, eight for validation."""
    root.mkdir(parents=True)
    total = count + 8
    np.save(root / "shard-0.npy", np.random.default_rng(0).integers(0, 256, (total, *shape), np.uint8))
    ids = [f"{number:06}" for number in range(total)]
    table = {
        "id": ids,
        "label": np.arange(total, dtype=np.int32) % 10,
        "split": ["train"] * count + ["val"] * 8,
        "shard": ["shard-0.npy"] * total,
        "row": np.arange(total, dtype=np.int32),
        "origin": ids,
        "sha256": ids,
    }
    pq.write_table(pa.table(table, schema=INDEX_SCHEMA), root / INDEX)
    write_classes([str(number) for number in range(10)], root / CLASSES)
    files.write_json(root / TRANSFORM, {"statistics": {"mean": [0.5] * shape[2], "std": [0.3] * shape[2]}})
    return ProcessedSet(root)


# --- the loader ----------------------------------------------------------------------------------------------------


def batches_of(data: ProcessedSet) -> EpochBatchSampler:
    """Returns an epoch's batches."""
    return EpochBatchSampler(EpochSampler(len(data.split("train")), 0, shuffle=True), BATCH)


def epochs_of(data: ProcessedSet) -> Any:
    """Returns the loader that a training would use, after a warm-up."""
    train_loader, _ = loaders(data, configured("cnn", 2))
    list(train_loader)
    return train_loader


def gathered(data: ProcessedSet) -> float:
    """Returns images per second of a bare gather of the same batches."""
    split = data.split("train")
    pixels = np.load(data.root / "shard-0.npy", mmap_mode="r")
    where = [np.array([position for _, position in keys]) for keys in batches_of(data)]
    started = time.perf_counter()
    for positions in where:
        pixels[positions]
    return len(split) / (time.perf_counter() - started)


def from_files(root: Path) -> float:
    """Returns images per second of a DataLoader with 2 workers over PNG files."""
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import PILToTensor

    return rate(DataLoader(ImageFolder(root, PILToTensor()), BATCH, shuffle=True, num_workers=2), lambda b: len(b[0]))


def rate(batches: Any, count: Any) -> float:
    """Returns images per second over all batches; `count` returns the number of images in a batch."""
    started, images = time.perf_counter(), 0
    for batch in batches:
        images += count(batch)
    return images / (time.perf_counter() - started)


def write_files(data: ProcessedSet, root: Path, count: int) -> None:
    """Writes training images as PNG files, one folder per class."""
    from PIL import Image

    split = data.split("train")
    for number, (image, label) in enumerate(zip(split.images(slice(count)), split.labels, strict=False)):
        path = root / str(label) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[:, :, 0]).save(path)


def compare_loaders(options: argparse.Namespace) -> None:
    """Prints the speed of the loader relative to the other contenders."""
    with tempfile.TemporaryDirectory() as folder:
        data = random_set(Path(folder) / "set", options.images, (28, 28, 1))
        write_files(data, Path(folder) / "files", min(options.images, 10_000))
        ours = epochs_of(data)
        roads = {
            "ours": lambda: rate(ours, lambda batch: len(batch[0])),
            "memmap[index]": lambda: gathered(data),
            "PNG files, 2 workers": lambda: from_files(Path(folder) / "files"),
        }
        found = take_turns(roads, options.rounds)
    for name in list(roads)[1:]:
        ratio = statistics.median(a / b for a, b in zip(found["ours"], found[name], strict=True))
        print(f"ours against {name}: {ratio:.2f}")


def take_turns(roads: dict[str, Any], rounds: int) -> dict[str, list[float]]:
    """Measures each contender once per round, after a warm-up round, and prints the medians."""
    found: dict[str, list[float]] = {name: [] for name in roads}
    for round_number in range(rounds + 1):
        for name, road in roads.items():
            images_per_second = road()
            if round_number:
                found[name].append(images_per_second)
    for name, values in found.items():
        print(f"  {name:<24} {statistics.median(values):>12,.0f} images/s")
    return found


# --- a step --------------------------------------------------------------------------------------------------------


def configured(model: str, threads: int) -> TrainConfig:
    """Returns the train section of both benchmarks."""
    settings = [f"train/model={model}", "train/trainer=cpu", "train/augment=standard", "train.augment_on=batch"]
    settings += [f"train.batch_size={BATCH}", f"train.threads={threads}", "train.max_epochs=3", "train.patience=99"]
    return typed(TrainConfig, compose(settings).train, "train")


def trained(data: ProcessedSet, config: TrainConfig) -> float:
    """Returns images per second of `stages.train.fit` in the epochs after the first."""
    seconds: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        fit(data, config, Path(folder), lambda metrics, _: seconds.append(metrics["epoch_seconds"]))
    return len(data.split("train")) / statistics.median(seconds[1:])


def bare(data: ProcessedSet, config: TrainConfig, steps: int) -> float:
    """Returns images per second of the same network in a bare loop."""
    import torch

    torch.set_num_threads(config.threads)
    torch.use_deterministic_algorithms(False)
    classifier = network(data, config).classifier.train()
    optimizer = config.optimizer.build([{"params": list(classifier.parameters()), "lr": config.optimizer.lr}])
    height, width, channels = data.shape
    images = torch.randn(BATCH, channels, height, width).to(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (BATCH,))
    for step in range(steps + 2):
        if step == 2:
            started = time.perf_counter()
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(classifier.network(images), labels).backward()
        optimizer.step()
    return steps * BATCH / (time.perf_counter() - started)


def steps(options: argparse.Namespace) -> None:
    """Prints the speed of `stages.train.fit` relative to the bare loop."""
    for model in options.models:
        shape, count = MODELS[model]
        print(f"{model} at {shape[0]}x{shape[1]}x{shape[2]}, batch {BATCH}, {options.threads} threads")
        config = configured(model, options.threads)
        with tempfile.TemporaryDirectory() as folder:
            data = random_set(Path(folder) / "set", count * BATCH, shape)
            roads = {
                "ours": lambda data=data, config=config: trained(data, config),
                "bare": lambda data=data, config=config, count=count: bare(data, config, count),
            }
            found = take_turns(roads, options.rounds)
        print(f"  ratio {statistics.median(a / b for a, b in zip(found['ours'], found['bare'], strict=True)):.3f}")


def main() -> None:
    """Runs the measurement that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["loader", "step"])
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--models", nargs="*", default=list(MODELS), choices=MODELS)
    options = parser.parse_args()
    {"loader": compare_loaders, "step": steps}[options.what](options)


if __name__ == "__main__":
    main()
