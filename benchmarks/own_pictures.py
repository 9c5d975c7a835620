"""A user's own pictures without any settings: the network that `sightline init` chooses, compared with others.

    python benchmarks/own_pictures.py hands three hands-50 fashion-200 FOLDER ... [--ways init probe timm ...]
        [--fastai PYTHON] [--keep DIR]

A case is a folder with one folder per class (or with `train` and `test`), `digits`, or a dataset of the folder
SIGHTLINE_SHARED_DATA: `hands`, `fashion-200`, `mnist-200`, where the number is that of the images per class for
training and validation. `hands-50` has 50 such images per class and 42 others for testing; the other two datasets have
100 per class from their own test split. `three` has the first 50 photographs of each of three hand signs, without a
given split.

Ways: `init` and `hog` (a linear SVM on histograms of gradients) run in the project that `sightline init` makes.
`probe`, `finetune` (both EfficientNet-Lite0) and `scratch` (the small network) use the settings that init has for each.
`timm` is a plain loop as in timm's documentation (EfficientNet-Lite0, 128 pixels, AdamW at 0.001 with a cosine
schedule, flips and crops, the best epoch on the validation split). `fastai` needs `--fastai` with a Python that has it
(`fastai_loop.py`; 128 pixels, its own defaults). These two get as many CPU seconds as init's `train` stage, but at
least 60. The ImageNet weights come from the installed package. All ways of a case use the same split. Each line shows
the accuracy on the test split with its 95 % interval, and the CPU seconds (user and system), which do not include
those of other jobs.
"""

from __future__ import annotations

import argparse
import gzip
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import torch
from timm import create_model
from torch import nn

from sightline.config.params import read
from sightline.datasets.processed_set import INDEX, ProcessedSet
from sightline.datasets.raw_set import raw_shards
from sightline.imaging.decode import decode
from sightline.metrics.intervals import wilson
from sightline.models import packaged_weights
from sightline.models.inference import Predictor
from sightline.reporting.formatting import score
from sightline.stages.evaluate.scoring import predict_split

ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("SIGHTLINE_SHARED_DATA", ROOT / ".." / "shared" / "data"))
SIDE, BATCH, LR = 128, 32, 1e-3
LEAST_SECONDS = 60.0
NETWORK = packaged_weights.IN_EXTRA
OTHERS = {
    "probe": [f"train.model={NETWORK}", "train.recipe=probe"],
    "finetune": [f"train.model={NETWORK}", "train.recipe=finetune"],
    "scratch": ["train.model=cnn", "train.recipe=scratch"],
}


def processor_seconds(who: int) -> float:
    """Returns the CPU seconds used by this process or by its ended children, as `who` asks."""
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def source(case: str, folder: Path) -> str:
    """Returns the value of `--images` for a case; writes the case's pictures to a folder if it is part of a dataset."""
    name, _, number = case.partition("-")
    if name not in ("hands", "fashion", "mnist", "three"):
        return case
    hands, folder = SHARED / "sign-language-digits", folder / case
    if case == "hands":
        return str(hands)
    if folder.exists():  # kept from an earlier run
        return str(folder)
    if name == "three":
        for label in ("0", "1", "2"):
            copy(sorted((hands / label).iterdir())[:50], folder / label)
        return str(folder)
    per_class = int(number)
    if name == "hands":
        tested = set(np.random.default_rng(0).permutation(200)[:42].tolist())
        for label in sorted(path for path in hands.iterdir() if path.is_dir()):
            files = sorted(label.iterdir())
            order = np.random.default_rng(1).permutation(len(files)).tolist()
            rest = [files[place] for place in order if place not in tested]
            copy(rest[:per_class], folder / "train" / label.name)
            copy([files[place] for place in sorted(tested)], folder / "test" / label.name)
        return str(folder)
    place = SHARED / ("fashion-mnist" if name == "fashion" else "mnist")
    for split, prefix, count in (("train", "train", per_class), ("test", "t10k", 100)):
        images = idx(place / f"{prefix}-images-idx3-ubyte.gz", 16)
        labels = idx(place / f"{prefix}-labels-idx1-ubyte.gz", 8)
        for label in range(10):
            target = folder / split / f"class {label}"
            target.mkdir(parents=True)
            for row in np.flatnonzero(labels == label)[:count].tolist():
                cv2.imwrite(str(target / f"{row:05}.png"), images.reshape(-1, 28, 28)[row])
    return str(folder)


def idx(path: Path, header: int) -> Any:
    """Returns the bytes of an IDX file after its header, as uint8 [n]."""
    return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=header)


def copy(files: list[Path], folder: Path) -> None:
    """Copies files into a new folder."""
    folder.mkdir(parents=True)
    for file in files:
        shutil.copy(file, folder)


def made(images: str, project: Path, words: list[str], stage: str) -> float:
    """Makes a project and runs it up to a stage; returns the CPU seconds of `dvc repro` for that stage."""
    if not project.exists():
        command = [sys.executable, "-c", "from sightline.cli import main; main()", "init", str(project), "--yes"]
        subprocess.run([*command, "--images", images, *words], check=True, stdout=subprocess.DEVNULL)
    before = processor_seconds(resource.RUSAGE_CHILDREN)
    subprocess.run(["dvc", "repro", stage], cwd=project, check=True, stdout=subprocess.DEVNULL)
    return processor_seconds(resource.RUSAGE_CHILDREN) - before


def right(project: Path) -> tuple[int, int]:
    """Returns how many test images a project's network classifies correctly, and how many there are."""
    test = ProcessedSet(project / "data/processed").split("test")
    answers = predict_split(Predictor.load(project / "models"), test, 64).argmax(axis=1)
    return int((answers == test.labels).sum()), len(test)


def splits(project: Path) -> Iterator[tuple[str, int, str, bytes]]:
    """Yields the split, class index, id and encoded bytes of each image of a project."""
    index = pq.read_table(project / "data/processed" / INDEX).to_pydict()
    rows = zip(index["id"], index["label"], index["split"], strict=True)
    place = {identity: (split, label) for identity, label, split in rows}
    for shard in raw_shards(project / "data/raw"):
        yield from ((*place[image.id], image.id, image.data) for image in shard.images() if image.id in place)


def fastai(python: str, project: Path, seconds: float) -> tuple[str, float]:
    """Runs fastai's loop in its own environment; returns its output and the CPU seconds."""
    with tempfile.TemporaryDirectory() as folder:
        for number, (split, label, _, data) in enumerate(splits(project)):
            target = Path(folder, split, f"class {label}")
            target.mkdir(parents=True, exist_ok=True)
            suffix = ".jpg" if data.startswith(b"\xff\xd8") else ".png"
            (target / f"{number:06}{suffix}").write_bytes(data)
        weights = packaged_weights.weights_file(NETWORK)
        loop = Path(__file__).with_name("fastai_loop.py")
        command = [python, str(loop), folder, str(weights), str(SIDE), str(seconds)]
        env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=env)
    answer, used, epochs = done.stdout.split()[-3:]
    return f"{answer} {epochs} epochs", float(used)


def plain_loop(project: Path, budget: float) -> tuple[float, int]:
    """Fine-tunes within a budget of CPU seconds; returns the test accuracy and the number of epochs."""
    sets: dict[str, tuple[list[Any], list[int]]] = {name: ([], []) for name in ("train", "val", "test")}
    for split, label, _, content in splits(project):
        sets[split][0].append(cv2.resize(decode(content), (SIDE, SIDE), interpolation=cv2.INTER_AREA))
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
    """Returns uint8 [n, H, W, 3] as float32 [n, 3, H, W], normalised as the weights expect: mean 0.5, std 0.5."""
    return (images.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5


def augmented(batch: torch.Tensor) -> torch.Tensor:
    """Returns a batch randomly flipped, and cropped at random to seven eighths and resized back."""
    if torch.rand(()) < 0.5:
        batch = batch.flip(3)
    y, x = (int(torch.randint(0, SIDE // 8 + 1, ())) for _ in range(2))
    cut = batch[:, :, y : y + SIDE * 7 // 8, x : x + SIDE * 7 // 8]
    return nn.functional.interpolate(cut, (SIDE, SIDE), mode="bilinear", align_corners=False)


def accuracy(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Returns the share of images that are classified correctly."""
    model.eval()
    with torch.inference_mode():
        answers = torch.cat([model(normalised(some)).argmax(1) for some in images.split(BATCH)])
    return float((answers == labels).float().mean())


def compare(case: str, ways: list[str], python: str | None, folder: Path) -> None:
    """Runs the ways on one case, and prints a line for each."""
    images, project = source(case, folder), folder / f"{case.replace('/', '_')}-init"

    def line(way: str, number: float, count: int, seconds: float, more: str = "") -> None:
        low, high = wilson(round(number * count), count)
        shown = f"{score(number)} ({score(low)} to {score(high)}) of {count}"
        print(f"{case:<12} {way:<9} {shown}  {seconds:5.0f} s  {more}", flush=True)

    made(images, project, [], "preprocess")
    seconds = made(images, project, [], "train")
    train = read(project / "params.yaml")["train"]
    chosen = "scratch" if train["recipe"] == "scratch" else train["recipe"]
    number, count = right(project)
    line("init", number / count, count, seconds, f"chose {train['model']}, {train['recipe']}")
    if "hog" in ways:
        used = made(images, project, [], "baseline")
        baselines = pq.read_table(project / "reports/baselines/hog_svm.parquet")
        line("hog", float(np.mean(baselines["predicted"].to_numpy() == baselines["label"].to_numpy())), count, used)
    for way, words in OTHERS.items():
        if way in ways and way != chosen:
            other = folder / f"{case.replace('/', '_')}-{way}"
            made(images, other, words, "preprocess")
            used = made(images, other, words, "train")
            line(way, right(other)[0] / count, count, used)
    budget = max(LEAST_SECONDS, seconds)
    if "timm" in ways:
        answer, epochs = plain_loop(project, budget)
        line("timm", answer, count, budget, f"{epochs} epochs")
    if "fastai" in ways and python:
        said, used = fastai(python, project, budget)
        line("fastai", float(said.split()[0]), count, used, said.partition(" ")[2])


def main() -> None:
    """Compares the ways on each case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="+")
    parser.add_argument("--ways", nargs="+", default=["hog", *OTHERS, "timm", "fastai"])
    parser.add_argument("--fastai", help="a Python interpreter with fastai, timm and PyTorch installed")
    parser.add_argument("--keep", type=Path, help="folder that keeps the projects, so that a later run can reuse them")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for case in words.cases:
            compare(case, words.ways, words.fastai, words.keep or Path(folder))


if __name__ == "__main__":
    main()
