"""The default pipeline on digits: test accuracy over seeds, and the preprocessing steps that cross-validation prefers.

    python benchmarks/digits.py seeds [--seeds 5] [key=value ...]
    python benchmarks/digits.py steps [--seeds 3] [key=value ...]

Both read `params.yaml`, and `data/raw` as written by `dvc repro ingest`.

Seeds: calls the train stage's own function once per seed and scores the weights that it keeps (those of the best epoch
on the validation images) on the test images. Target: a mean accuracy of at least 0.990, with each training taking less
than 30 s on two cores.

Steps: counts the errors of the last epoch's weights in 5-fold cross-validation over the training and validation images,
for several combinations of steps. Choosing a setting by these errors does not involve the test images.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sightline.config.compose import compose, read_params, saved_overrides, selecting, typed
from sightline.datasets.processed_set import INDEX, ProcessedSet
from sightline.datasets.raw_set import NEAR, SPLITS, read_near
from sightline.stages.preprocess.config import PreprocessConfig
from sightline.stages.preprocess.splits import draws
from sightline.stages.preprocess.stage import preprocess
from sightline.stages.train.config import TrainConfig

RAW = Path("data/raw")
FOLDS = 5
STEPS = (
    ("none", "none", "none"),
    ("gaussian", "none", "none"),
    ("gaussian", "autocontrast", "none"),
    ("none", "none", "threshold"),
    ("gaussian", "autocontrast", "threshold"),
)
"""Combinations of the options of the steps denoise, enhance and segment."""


def configured(overrides: list[str]) -> Any:
    """Returns the configuration: params.yaml with the overrides of the command line."""
    return compose([*saved_overrides(read_params()), *(selecting(word) for word in overrides)])


def prepared(config: Any, folder: Path) -> Path:
    """Preprocesses the raw set into a new folder below `folder`, and returns it."""
    out = Path(tempfile.mkdtemp(dir=folder))
    preprocess(RAW, typed(PreprocessConfig, config.preprocess, "preprocess"), out)
    return out


def seeds(count: int, overrides: list[str]) -> None:
    """Prints each seed's test errors and training time, the mean accuracy and the verdict."""
    from sightline.models.inference import Predictor
    from sightline.stages.train.stage import TrainingRun

    found, times = [], []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        data = prepared(configured(overrides), folder)
        test = ProcessedSet(data).split("test")
        for seed in range(count):
            config = typed(TrainConfig, configured([*overrides, f"train.seed={seed}"]).train, "train")
            begin = time.perf_counter()
            TrainingRun(data, config).run(folder / f"model-{seed}", folder / f"history-{seed}.csv")
            times.append(time.perf_counter() - begin)
            guessed = Predictor.load(folder / f"model-{seed}")(test.images(np.arange(len(test)))).argmax(axis=1)
            found.append(float((guessed == test.labels).mean()))
            print(f"seed {seed}: {round((1 - found[-1]) * len(test))} errors of {len(test)}, {times[-1]:.1f} s")
    mean = statistics.mean(found)
    print(
        f"mean accuracy {mean:.4f}, target 0.990: {'reached' if mean >= 0.99 else 'missed'}; "
        f"{statistics.median(times):.1f} s of training, target 30 s"
    )


def folds(data: Path, folder: Path) -> Iterator[ProcessedSet]:
    """Yields the training and validation images once per fold, with that fold as the validation split.

    Images with the same bytes and near duplicates share a fold.
    """
    whole = pq.read_table(data / INDEX)
    table = whole.filter(pc.not_equal(whole["split"], "test"))
    contents = table["sha256"].to_pylist()
    content_of = dict(zip(table["id"].to_pylist(), contents, strict=True))
    near = {content_of[one]: group for one, group in read_near(RAW / NEAR).items() if one in content_of}
    fold = np.floor(draws((near.get(content, content).encode() for content in contents), 0, b"fold") * FOLDS)
    place = table.schema.get_field_index("split")
    for number in range(FOLDS):
        root = Path(tempfile.mkdtemp(dir=folder))
        for file in data.iterdir():
            if file.name != INDEX:
                (root / file.name).symlink_to(file)
        split = np.where(fold == number, SPLITS[1], SPLITS[0]).tolist()
        pq.write_table(table.set_column(place, table.schema.field(place), [split]), root / INDEX)
        yield ProcessedSet(root)


def steps(count: int, overrides: list[str]) -> None:
    """Prints the cross-validation errors of each combination of steps."""
    from sightline.stages.train.fit import fit

    for denoise, enhance, segment in STEPS:
        chosen = [f"preprocess/denoise={denoise}", f"preprocess/enhance={enhance}", f"preprocess/segment={segment}"]
        errors = images = 0
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            data = prepared(configured([*chosen, *overrides]), folder)
            for seed in range(count):
                settings = configured([*chosen, "train.patience=1000", *overrides, f"train.seed={seed}"])
                for number, fold in enumerate(folds(data, folder)):
                    config = typed(TrainConfig, settings.train, "train")
                    history = fit(fold, config, folder / f"checkpoints-{seed}-{number}").history
                    held = len(fold.split("val"))
                    errors += round((1 - history[-1]["val_accuracy"]) * held)
                    images += held
        print(f"{denoise:10} {enhance:14} {segment:10} {errors} errors of {images:,}: {1 - errors / images:.4f}")


def main() -> None:
    """Runs one measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["seeds", "steps"])
    parser.add_argument("overrides", nargs="*", help="further settings, such as train.max_epochs=10")
    parser.add_argument("--seeds", type=int)
    given = parser.parse_intermixed_args()
    if given.what == "seeds":
        seeds(given.seeds or 5, given.overrides)
    else:
        steps(given.seeds or 3, given.overrides)


if __name__ == "__main__":
    main()
