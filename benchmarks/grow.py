"""Adding new classes to a trained model: digits 0 to 7, then 8 and 9, with the old classes' accuracy before and after.

    python benchmarks/grow.py [--seeds 3] [--pictures 10] [--draws 10] [key=value ...]

Preprocessing and training use `params.yaml`, with the given settings of its train section. For each seed, a network is
trained on 0 to 7. Then a second network is trained on all ten classes starting from the first (`train.start_from`), a
third one starting from random weights, and the bundle of the first is extended with a few training pictures of each new
class (`sightline extend`). Each row shows the accuracy on the old classes' test images before and after, the exact
McNemar p-value of the difference (the median over several draws), and the accuracy on the new classes' test images.
Target for the network that starts from the first: old classes not worse (p of at least 0.05, or no fewer correct
answers) for any seed, and a mean accuracy of at least 0.97 on the new ones.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from sklearn.datasets import load_digits

import sightline
from sightline.config.compose import read_params
from sightline.imaging.decode import encode_png
from sightline.metrics import paired
from sightline.predict.bundle import Bundle
from sightline.predict.extension import extend

OLD, NEW = [str(digit) for digit in range(8)], ["8", "9"]
TARGET = 0.97


def write_pictures(folder: Path, classes: list[str]) -> None:
    """Writes scikit-learn's digits of some classes as PNG files, one folder per class."""
    digits = load_digits()
    for number, (image, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        if str(label) in classes:
            path = folder / str(label) / f"{number:04}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_png(np.round(image * 255 / 16).astype(np.uint8)[..., None]))


class Run:
    """One seed: the datasets, the model of the old classes, and whether each of its test answers is correct."""

    def __init__(self, root: Path, seed: int, knobs: dict[str, Any]) -> None:
        self.root, self.seed = root, seed
        params = read_params()
        self.train_knobs = {**params["train"], **knobs, "seed": seed}
        prepare = params["preprocess"]
        self.sets = []
        for classes in (OLD, OLD + NEW):
            pictures = root / "pictures" / str(len(classes))
            if not pictures.exists():
                write_pictures(pictures, classes)
            self.sets.append(sightline.preprocess(sightline.ingest(pictures, folder=root), folder=root, **prepare))
        self.before = sightline.train(self.sets[0], folder=root, **self.train_knobs)
        split = self.sets[0].files.split("test")
        self.was_right = dict(
            zip(split.ids, self.before.probabilities(split.images()).argmax(1) == split.labels, strict=True)
        )

    def row(self, name: str, answers: np.ndarray, draws: int = 1) -> tuple[float, float, float, float]:
        """Prints a method's row, and returns its numbers.

        Args:
            name: The method.
            answers: Predicted class indices of the test images with all classes, [draws * n], draw after draw.
            draws: Number of draws.

        Returns:
            Accuracy on the old classes before and after, McNemar's p-value, and accuracy on the new classes.
        """
        split = self.sets[1].files.split("test")
        right = answers.reshape(draws, -1) == split.labels
        old = split.labels < len(OLD)
        ids = [id_ for id_, is_old in zip(split.ids, old, strict=True) if is_old]
        assert set(ids) == set(self.was_right), "the old classes' test images must be the same"
        before = np.array([self.was_right[id_] for id_ in ids])
        p = float(np.median([paired.mcnemar(one[old], before) for one in right]))
        numbers = float(before.mean()), float(right[:, old].mean()), p, float(right[:, ~old].mean())
        print(f"| {name} | {numbers[0]:.4f} | {numbers[1]:.4f} | {p:.3f} | {numbers[3]:.4f} |", flush=True)
        return numbers

    def extended(self, count: int, draws: int) -> None:
        """Prints the row of the bundle extended with `count` training pictures per new class, averaged over draws."""
        evaluation = sightline.evaluate(
            self.before, self.sets[0], folder=self.root, robustness_images=0, explain=False, gallery=0
        )
        bundle = sightline.export(evaluation, folder=self.root).path
        train = self.sets[1].files.split("train")
        images = self.sets[1].files.split("test").images()
        random, answers, seconds = np.random.default_rng(0), [], []
        for draw in range(draws):
            pictures = self.root / f"new-{self.seed}-{draw}"
            for label, name in enumerate(NEW, len(OLD)):
                (pictures / name).mkdir(parents=True)
                for place in random.choice(np.flatnonzero(train.labels == label), count, replace=False):
                    shutil.copy(self.root / "pictures/10" / train.ids[place], pictures / name)
            begun = time.perf_counter()
            extend(bundle, pictures, pictures / "bundle")
            seconds.append(time.perf_counter() - begun)
            answers.append(Bundle.load(pictures / "bundle", "fp32").probabilities(images).argmax(axis=1))
        name = f"seed {self.seed}: extended by {count} pictures a class, {draws} draws, {np.mean(seconds):.1f} s each"
        self.row(name, np.concatenate(answers), draws)


def main() -> None:
    """Prints a table of all seeds, and the verdict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=10)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("settings", nargs="*", help="settings of the train section, such as max_epochs=5")
    options = parser.parse_args()
    knobs = {key: yaml.safe_load(value) for key, _, value in (word.partition("=") for word in options.settings)}
    print("| model | old classes before | old classes | McNemar's p | new classes |")
    print("| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        results = []
        for seed in range(options.seeds):
            run = Run(Path(folder), seed, knobs)
            images = run.sets[1].files.split("test").images()
            start = {"start_from": str(run.before.path)}
            started = sightline.train(run.sets[1], folder=run.root, **run.train_knobs, **start)
            answers = started.probabilities(images).argmax(axis=1)
            results.append(run.row(f"seed {seed}: trained from the model before", answers))
            fresh = sightline.train(run.sets[1], folder=run.root, **run.train_knobs)
            run.row(f"seed {seed}: trained from random weights", fresh.probabilities(images).argmax(axis=1))
            run.extended(options.pictures, options.draws)
    before, old, p, new = np.array(results).T
    kept, learnt = ((old >= before) | (p >= 0.05)).all(), new.mean() >= TARGET
    print(
        f"from the model before, {options.seeds} seeds: old classes {old.mean():.4f} (before: {before.mean():.4f}), "
        f"{'not worse' if kept else 'WORSE'} by McNemar in each; new classes {new.mean():.4f} "
        f"({'' if learnt else 'NOT '}at least {TARGET})"
    )


if __name__ == "__main__":
    main()
