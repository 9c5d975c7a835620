"""Own pictures, no knob given: `sightline init` and `dvc repro`, against HOG and a plain timm fine-tuning loop.

    python benchmarks/own_pictures.py FOLDER            # a folder per class
    python benchmarks/own_pictures.py FOLDER --project DIR   # a project that init made and dvc repro has run in

The loop is what timm's own documentation shows: EfficientNet-Lite0 with ImageNet's weights (from the installed package:
no network is needed), 128 pixels, AdamW at 0.001 with a cosine, flips and crops, the epoch that was best on the
validation split. It gets the same splits and the processor time of the stage `train`. Printed are the accuracies on
the test split and the seconds of the processor.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import torch
from timm import create_model
from torch import nn

from sightline.datasets.processed_set import INDEX, open_split
from sightline.datasets.raw_set import raw_shards
from sightline.imaging.decode import decode
from sightline.models import packaged_weights

SIDE, BATCH, LR = 128, 32, 1e-3
NETWORK = packaged_weights.IN_EXTRA


def processor_seconds(who: int) -> float:
    """Returns the seconds of the processor that this process, or its children that have ended, have used."""
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def make(source: Path, project: Path) -> None:
    """Makes the project and runs it up to its baselines."""
    command = [sys.executable, "-c", "from sightline.cli import main; main()", "init", str(project), "--yes"]
    subprocess.run([*command, "--images", str(source)], check=True)
    subprocess.run(["dvc", "repro", "baseline"], cwd=project, check=True)


def plain_loop(project: Path, budget: float) -> tuple[float, int]:
    """Fine-tunes for a budget of processor seconds; returns the test accuracy and the epochs there was time for."""
    index = pq.read_table(project / "data/processed" / INDEX).to_pydict()
    rows = zip(index["id"], index["label"], index["split"], strict=True)
    place = {identity: (label, split) for identity, label, split in rows}
    sets: dict[str, tuple[list[Any], list[int]]] = {name: ([], []) for name in ("train", "val", "test")}
    for shard in raw_shards(project / "data/raw"):
        for image in shard.images():
            label, split = place.get(image.id, (0, ""))
            if split in sets:
                sets[split][0].append(cv2.resize(decode(image.data), (SIDE, SIDE), interpolation=cv2.INTER_AREA))
                sets[split][1].append(label)
    data = {name: (torch.from_numpy(np.stack(x)), torch.tensor(y)) for name, (x, y) in sets.items()}
    torch.manual_seed(0)
    model = create_model(f"tf_{NETWORK}", pretrained=False, num_classes=1000)
    weights = torch.load(packaged_weights.weights_file(NETWORK), weights_only=True)
    model.load_state_dict(dict(zip(model.state_dict(), weights.values(), strict=True)))
    model.reset_classifier(max(data["train"][1]).item() + 1)
    optimizer = torch.optim.AdamW(model.parameters(), LR)
    images, labels = data["train"]
    begun, best, answer, epoch, longest = processor_seconds(resource.RUSAGE_SELF), -1.0, 0.0, 0, 0.0
    while True:
        used = processor_seconds(resource.RUSAGE_SELF) - begun
        if used + longest > budget:
            return answer, epoch
        for group in optimizer.param_groups:
            group["lr"] = LR * 0.5 * (1 + np.cos(np.pi * min(1, used / budget)))
        model.train()
        for rows in torch.randperm(len(images)).split(BATCH):
            if len(rows) < 2:
                continue
            batch = augmented(normalised(images[rows]))
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(batch), labels[rows]).backward()
            optimizer.step()
        right = accuracy(model, *data["val"])
        if right >= best:
            best, answer = right, accuracy(model, *data["test"])
        epoch += 1
        longest = max(longest, processor_seconds(resource.RUSAGE_SELF) - begun - used)


def normalised(images: torch.Tensor) -> torch.Tensor:
    """Returns uint8 [n, H, W, 3] as float32 [n, 3, H, W], as the weights expect it: mean 0.5, deviation 0.5."""
    return (images.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5


def augmented(batch: torch.Tensor) -> torch.Tensor:
    """Returns a batch, flipped or not, cut to seven eighths at a random place and enlarged again."""
    if torch.rand(()) < 0.5:
        batch = batch.flip(3)
    y, x = (int(torch.randint(0, SIDE // 8 + 1, ())) for _ in range(2))
    cut = batch[:, :, y : y + SIDE * 7 // 8, x : x + SIDE * 7 // 8]
    return nn.functional.interpolate(cut, (SIDE, SIDE), mode="bilinear", align_corners=False)


def accuracy(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Returns the share of images that are named rightly."""
    model.eval()
    with torch.inference_mode():
        answers = torch.cat([model(normalised(some)).argmax(1) for some in images.split(BATCH)])
    return float((answers == labels).float().mean())


def main() -> None:
    """Runs the three, and prints a row for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("--project", type=Path, help="made already, and run by dvc repro")
    parser.add_argument("--seconds", type=float, help="of the processor for the loop; with --project")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        project, used = words.project or Path(folder, "project"), words.seconds or 0.0
        if words.project is None:
            make(words.source, project)
            before = processor_seconds(resource.RUSAGE_CHILDREN)
            subprocess.run(["dvc", "repro", "train"], cwd=project, check=True)
            used = processor_seconds(resource.RUSAGE_CHILDREN) - before
            subprocess.run(["dvc", "repro"], cwd=project, check=True)
        test = len(open_split(project / "data/processed", "test"))
        scores = json.loads((project / "reports/metrics.json").read_text())
        baselines = json.loads((project / "reports/baselines/baselines.json").read_text())
        hog = baselines["methods"]["hog_svm"]
        print(f"{test} test images")
        print(f"sightline init, dvc repro   {scores['accuracy']:.4f}   {used:.0f} s of the processor")
        print(f"hog_svm                     {hog['accuracy']:.4f}")
        right, epochs = plain_loop(project, used)
        print(f"timm                        {right:.4f}   {used:.0f} s of the processor, {epochs} epochs")


if __name__ == "__main__":
    main()
