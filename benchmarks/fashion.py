"""Fashion-MNIST (60,000 training and 10,000 test images) on a CPU: time to a target accuracy, and best accuracy.

    python benchmarks/fashion.py race [--seeds 3] [--target 0.915] [--epochs 3] [--threads 2]
    python benchmarks/fashion.py best [--epochs 18] [--threads 2]

Race: the seconds from the first batch to the end of the first epoch that reaches the target accuracy on the test
images, which are scored after every epoch. Three implementations use the same network (`cnn`, three blocks starting
with 16 channels), augmentation (a flip), batch size, optimiser and one-cycle schedule: `ours` (`stages.train.fit`);
`plain`, a PyTorch loop as in tutorials (a Dataset that returns one image at a time, torchvision's transforms, a
DataLoader with 2 workers); and `fastai`, if `--fastai /path/to/python` names a Python that has it (preferably in a
separate environment). Each run is a separate process; the implementations take turns, with a new seed each round. The
output has the medians and their ratios to ours. Target: a ratio of at least 1.5.

Best: the accuracy at the end of a one-cycle schedule of many epochs, and the time it took. Target: 0.935, preferably
0.940, within 30 minutes on 2 cores. The last epoch counts, not the best one, so the test images select nothing.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("SIGHTLINE_SHARED_DATA", ROOT / ".." / "shared" / "data"))
BATCH, LR, DECAY = 128, 0.005, 0.01
WIDTH, BLOCKS, HIDDEN = 16, 3, 128
FLIP = ["train/augment=standard", *(f"train.augment.{name}=0" for name in ("crop", "rotate", "scale", "translate"))]
FLIP += [f"train.augment.{name}=0" for name in ("brightness", "contrast", "saturation")]
COMMON = ["train/trainer=cpu", "train.augment_on=batch", "train/schedule=one_cycle", f"train.batch_size={BATCH}"]
COMMON += [f"train.lr={LR}", f"train.optimizer.weight_decay={DECAY}", "train.patience=1000", "train.model.dropout=0"]
RACE = [f"train.model.width={WIDTH}", f"train.model.blocks={BLOCKS}", f"train.model.hidden={HIDDEN}"]
BEST = [
    "train.model.width=32",
    "train.model.blocks=3",
    "train.augment.translate=0.07",
    "train/weight_averaging=ema",
    "train.loss.label_smoothing=0.05",
]


def read(name: str) -> npt.NDArray[np.uint8]:
    """Reads an IDX file."""
    data = gzip.decompress((SHARED / "fashion-mnist" / f"{name}.gz").read_bytes())
    shape = [int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(data[3])]
    return np.frombuffer(data, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)


def arrays() -> dict[str, npt.NDArray[np.uint8]]:
    """Returns images [n, 28, 28] and labels [n] of both splits."""
    return {
        f"{split}_{what}": read(f"{file}-{what}-idx{3 if what == 'images' else 1}-ubyte")
        for split, file in (("train", "train"), ("test", "t10k"))
        for what in ("images", "labels")
    }


def processed(root: Path) -> Any:
    """Writes both splits as a processed set that has the test images as its validation split."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from sightline.core import files
    from sightline.datasets.processed_set import INDEX, INDEX_SCHEMA, TRANSFORM, ProcessedSet
    from sightline.datasets.raw_set import CLASSES, write_classes

    data = arrays()
    root.mkdir(parents=True)
    np.save(root / "shard-0.npy", np.concatenate([data["train_images"], data["test_images"]])[..., None])
    labels = np.concatenate([data["train_labels"], data["test_labels"]])
    ids = [f"{number:06}" for number in range(len(labels))]
    table = {
        "id": ids,
        "label": labels.astype(np.int32),
        "split": ["train"] * len(data["train_labels"]) + ["val"] * len(data["test_labels"]),
        "shard": ["shard-0.npy"] * len(ids),
        "row": np.arange(len(ids), dtype=np.int32),
        "origin": ids,
        "sha256": ids,
    }
    pq.write_table(pa.table(table, schema=INDEX_SCHEMA), root / INDEX)
    write_classes([str(number) for number in range(10)], root / CLASSES)
    pixels = data["train_images"] / 255
    statistics = {"mean": [float(pixels.mean())], "std": [float(pixels.std())]}
    files.write_json(root / TRANSFORM, {"statistics": statistics})
    return ProcessedSet(root)


def ours(seed: int, epochs: int, threads: int, more: list[str]) -> list[tuple[float, float]]:
    """Trains with this project; returns (elapsed seconds, test accuracy) at the end of each epoch."""
    from sightline.config.compose import compose, typed
    from sightline.stages.train.config import TrainConfig
    from sightline.stages.train.fit import fit

    settings = [*COMMON, *FLIP, f"train.seed={seed}", f"train.max_epochs={epochs}", f"train.threads={threads}", *more]
    config = typed(TrainConfig, compose(settings).train, "train")
    seen: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        data = processed(Path(folder) / "set")
        started = time.perf_counter()
        fit(
            data,
            config,
            Path(folder) / "checkpoints",
            lambda metrics, _: seen.append((time.perf_counter() - started, metrics["val_accuracy"])),
        )
    return seen


def network() -> Any:
    """Returns the same network as ours, without its input normalisation and memory format."""
    from sightline.models.cnn_network import CnnNetwork

    return CnnNetwork(1, 10, WIDTH, BLOCKS, HIDDEN, 0.0)


def plain(seed: int, epochs: int, threads: int) -> list[tuple[float, float]]:
    """Trains as a tutorial would; returns values like those of `ours`."""
    import torch
    from PIL import Image
    from torch import nn
    from torch.utils.data import DataLoader, Dataset
    from torchvision import transforms

    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    data = arrays()
    scale = [transforms.ToTensor(), transforms.Normalize(0.286, 0.353)]

    class Split(Dataset):  # type: ignore[type-arg]
        def __init__(self, name: str, steps: list[Any]) -> None:
            self.images, self.labels = data[f"{name}_images"], data[f"{name}_labels"]
            self.transform = transforms.Compose(steps)

        def __len__(self) -> int:
            return len(self.labels)

        def __getitem__(self, index: int) -> tuple[Any, int]:
            return self.transform(Image.fromarray(self.images[index])), int(self.labels[index])

    train = DataLoader(Split("train", [transforms.RandomHorizontalFlip(), *scale]), BATCH, shuffle=True, num_workers=2)
    test = DataLoader(Split("test", scale), 512, num_workers=2)
    net = network()
    optimizer = torch.optim.AdamW(net.parameters(), LR, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, total_steps=epochs * len(train) + 1)
    loss_of = nn.CrossEntropyLoss()
    seen = []
    started = time.perf_counter()
    for _ in range(epochs):
        net.train()
        for images, labels in train:
            optimizer.zero_grad()
            loss_of(net(images), labels).backward()
            optimizer.step()
            schedule.step()
        net.eval()
        with torch.inference_mode():
            right = sum(int((net(images).argmax(1) == labels).sum()) for images, labels in test)
        seen.append((time.perf_counter() - started, right / 10_000))
    return seen


FASTAI = """
import json, sys, time
import numpy as np, torch
from fastai.vision.all import *
seed, epochs, threads, batch, lr, decay, shape, folder = json.loads(sys.argv[1])
sys.path.insert(0, folder + "/src")
import importlib.util
spec = importlib.util.spec_from_file_location("cnn", folder + "/src/sightline/models/cnn_network.py")
cnn = importlib.util.module_from_spec(spec); spec.loader.exec_module(cnn)
torch.set_num_threads(threads); set_seed(seed)
data = dict(np.load(sys.argv[2]))
images = np.concatenate([data["train_images"], data["test_images"]])
labels = np.concatenate([data["train_labels"], data["test_labels"]])
block = DataBlock(
    blocks=(ImageBlock(PILImageBW), CategoryBlock(vocab=list(range(10)))),
    get_items=lambda _: list(range(len(labels))),
    get_x=lambda i: images[i], get_y=lambda i: int(labels[i]),
    splitter=IndexSplitter(list(range(60000, 70000))),
    batch_tfms=[Flip(p=0.5), Normalize.from_stats([0.286], [0.353], cuda=False)],
)
loaders = block.dataloaders(None, bs=batch, num_workers=2)
learner = Learner(loaders, cnn.CnnNetwork(1, 10, *shape, 0.0), loss_func=CrossEntropyLossFlat(), metrics=accuracy)
seen = []
class Watch(Callback):
    order = 90
    def after_epoch(self): seen.append([time.perf_counter() - started, float(self.recorder.values[-1][2])])
with learner.no_bar(), learner.no_logging():
    started = time.perf_counter()
    learner.fit_one_cycle(epochs, lr, wd=decay, cbs=Watch())
print("RESULT", json.dumps(seen))
"""


def alone(road: str, seed: int, options: argparse.Namespace) -> list[list[float]]:
    """Runs one implementation in a separate process; returns [elapsed seconds, test accuracy] of each epoch."""
    if road == "fastai":
        with tempfile.TemporaryDirectory() as folder:
            np.savez(Path(folder) / "data.npz", **arrays())
            given = json.dumps(
                [seed, options.epochs, options.threads, BATCH, LR, DECAY, [WIDTH, BLOCKS, HIDDEN], str(ROOT)]
            )
            command = [options.fastai, "-c", FASTAI, given, str(Path(folder) / "data.npz")]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=folder)
    else:
        words = ["one", "--road", road, "--seed", str(seed)]
        words += ["--epochs", str(options.epochs), "--threads", str(options.threads)]
        done = subprocess.run([sys.executable, __file__, *words], stdout=subprocess.PIPE, text=True, check=True)
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("RESULT "))
    result: list[list[float]] = json.loads(line.removeprefix("RESULT "))
    return result


def race(options: argparse.Namespace) -> None:
    """Prints each implementation's seconds to the target, and the ratios."""
    roads = ["ours", "plain", *(["fastai"] if options.fastai else [])]
    times: dict[str, list[float]] = {road: [] for road in roads}
    for seed in range(options.seeds):
        for road in roads:
            seen = alone(road, seed, options)
            reached = next((seconds for seconds, accuracy in seen if accuracy >= options.target), math.inf)
            times[road].append(reached)
            epochs = "  ".join(f"{seconds:.0f} s {accuracy:.4f}" for seconds, accuracy in seen)
            print(f"seed {seed}  {road:<7} {reached:>6.1f} s   ({epochs})", flush=True)
    middle = {road: statistics.median(values) for road, values in times.items()}
    for road in roads:
        print(f"{road:<7} median {middle[road]:.1f} s to {options.target}, {middle[road] / middle['ours']:.2f} of ours")


def main() -> None:
    """Runs the measurement that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["race", "best", "one"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", type=float, default=0.915)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--road", choices=["ours", "plain"], default="ours")
    parser.add_argument("--fastai", help="a Python interpreter with fastai installed")
    options = parser.parse_args()
    options.epochs = options.epochs or (18 if options.what == "best" else 3)
    os.chdir(ROOT)
    if options.what == "race":
        race(options)
    elif options.what == "best":
        seen = ours(options.seed, options.epochs, options.threads, BEST)
        seconds, accuracy = seen[-1]
        print(f"{accuracy:.4f} after {options.epochs} epochs, {seconds / 60:.1f} minutes, {options.threads} threads")
    else:
        road = {"ours": lambda *a: ours(*a, RACE), "plain": plain}[options.road]
        print("RESULT", json.dumps(road(options.seed, options.epochs, options.threads)))


if __name__ == "__main__":
    main()
