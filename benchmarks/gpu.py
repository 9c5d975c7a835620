"""Training on a GPU: how near to a bare compiled loop, how fast to an accuracy, and twice the same.

    python benchmarks/gpu.py throughput [--images 50000] [--epochs 4]
    python benchmarks/gpu.py fashion [--epochs 10]
    python benchmarks/gpu.py same [--images 10000] [--epochs 2]

Throughput: resnet9 on CIFAR-10-shaped random images, images a second of `sightline.train.fit` after the first epoch, as
a ratio to a bare loop of the same network, compiled, in bf16, over one batch that stands on the GPU (target: at least
0.9); and the share of time spent waiting for data (target: under 2 %).

Fashion: seconds of training, compilation apart, to 94 % of Fashion-MNIST's test images (target: under 30).

Same: two trainings' weights have the same digest.

`--device cpu`, with a few images, only shows that the commands run.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from fashion import FLIP, ROOT, processed
from train import random_set

from sightline import files
from sightline.config import compose, typed
from sightline.models.store import weights_bytes
from sightline.shards import ProcessedSet
from sightline.train.config import TrainConfig
from sightline.train.fit import Fitted, fit
from sightline.train.parts import network

BATCH = 512


def configured(options: argparse.Namespace, *more: str) -> TrainConfig:
    """Returns the train section: resnet9, compiled, on the device."""
    settings = ["train/model=resnet9", f"train/trainer={options.device}", "train.augment_on=batch", *FLIP]
    settings += [f"train.trainer.compile={options.device == 'gpu'}", f"train.batch_size={BATCH}", "train.patience=99"]
    settings += ["train/schedule=one_cycle", "train/optimizer=sgd", "train.lr=0.4", "train.loss.label_smoothing=0.1"]
    return typed(TrainConfig, compose([*settings, f"train.max_epochs={options.epochs}", *more]).train, "train")


def trained(data: ProcessedSet, config: TrainConfig) -> tuple[Fitted, list[dict[str, float]]]:
    """Trains; returns the result and every epoch's metrics."""
    epochs: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        return fit(data, config, Path(folder), lambda metrics, _: epochs.append(dict(metrics))), epochs


def bare(data: ProcessedSet, config: TrainConfig, steps: int, device: str) -> float:
    """Returns images a second of the same network in a bare compiled loop in bf16."""
    import torch

    classifier = network(data, config).classifier.to(device).train()
    if device == "cpu":
        classifier.network.to(memory_format=torch.channels_last)
    height, width, channels = data.shape
    images = torch.randn(BATCH, channels, height, width, device=device).to(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (BATCH,), device=device)
    optimizer = torch.optim.SGD(classifier.parameters(), 0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    started = 0.0
    for step in range(-20, steps):
        if step == 0:
            synchronize()
            started = time.perf_counter()
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            loss = torch.nn.functional.cross_entropy(classifier.network(images), labels)
        loss.backward()
        optimizer.step()
    synchronize()
    return steps * BATCH / (time.perf_counter() - started)


def synchronize() -> None:
    """Waits for the GPU, where there is one."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def throughput(options: argparse.Namespace) -> None:
    """Prints the ratio and the stall."""
    with tempfile.TemporaryDirectory() as folder:
        data = random_set(Path(folder) / "set", options.images, (32, 32, 3))
        config = configured(options)
        _, epochs = trained(data, config)
        ours = options.images / statistics.median(epoch["epoch_seconds"] for epoch in epochs[1:])
        steps = max(1, options.images // BATCH)
        theirs = bare(data, config, steps, "cuda" if options.device == "gpu" else "cpu")
    stall = statistics.median(epoch["data_stall"] for epoch in epochs[1:])
    print(f"ours {ours:,.0f} images/s, bare {theirs:,.0f}: ratio {ours / theirs:.3f}; waiting for data {stall:.1%}")


def fashion(options: argparse.Namespace) -> None:
    """Prints the seconds to 94 %, the first epoch, which compiles, counted as long as the second."""
    with tempfile.TemporaryDirectory() as folder:
        data = processed(Path(folder) / "set")
        _, epochs = trained(data, configured(options, "train/augment=standard", "train.augment.rotate=0"))
    seconds = [epochs[1]["epoch_seconds"], *(epoch["epoch_seconds"] for epoch in epochs[1:])]
    for number, epoch in enumerate(epochs):
        print(f"{sum(seconds[: number + 1]):6.1f} s  {epoch['val_accuracy']:.4f}")


def same(options: argparse.Namespace) -> None:
    """Prints whether two trainings gave the same weights."""
    with tempfile.TemporaryDirectory() as folder:
        data = random_set(Path(folder) / "set", options.images, (32, 32, 3))
        digests = {files.sha256(weights_bytes(trained(data, configured(options))[0].classifier)) for _ in range(2)}
    print("the same weights" if len(digests) == 1 else "two trainings differ")


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs: dict[str, Any] = {"throughput": throughput, "fashion": fashion, "same": same}
    parser.add_argument("what", choices=list(verbs))
    parser.add_argument("--device", choices=["gpu", "cpu"], default="gpu")
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--epochs", type=int, default=4)
    options = parser.parse_args()
    os.chdir(ROOT)
    verbs[options.what](options)


if __name__ == "__main__":
    main()
