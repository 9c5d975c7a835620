"""New classes for a trained model: digits 0 to 7, then 8 and 9; the old classes' answers before and after.

    python benchmarks/grow.py [--seeds 5] [--pictures 10] [key=value ...]

Prepared and trained by `params.yaml`, with what is given for its train section. For each seed a network learns 0 to 7;
then, on all ten, one starts from it (`train.start_from`) and one from random weights, and the bundle of the first is
extended by some pictures of each new class (`sightline extend`). The accuracy on the test images of the old classes,
with McNemar's exact p of the difference to the model before, and on those of the new ones. Target: old classes not
worse (p of at least 0.05, or better), new ones at least 0.97 for the model that started from the one before.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

import sightline
from sightline.config.compose import read_params
from sightline.imaging.decode import encode_png
from sightline.metrics import paired

OLD, NEW = [str(digit) for digit in range(8)], ["8", "9"]
FOLDER = Path("grow")


def write_pictures(folder: Path, classes: list[str]) -> None:
    """Writes scikit-learn's digits of some classes as PNG files, a folder a class."""
    digits = load_digits()
    for number, (image, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        if str(label) in classes:
            path = folder / str(label) / f"{number:04}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_png(np.round(image * 255 / 16).astype(np.uint8)[..., None]))


class Run:
    """One seed: the sets, the model of the old classes, and its answers."""

    def __init__(self, root: Path, seed: int, knobs: dict[str, Any]) -> None:
        self.root = root
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

    def row(self, name: str, answers: np.ndarray) -> tuple[float, float, float]:
        """Prints a method's row; answers are class indices of the grown set's test images."""
        split = self.sets[1].files.split("test")
        right = answers == split.labels
        new = split.labels >= len(OLD)
        old = np.array([id_ in self.was_right for id_ in split.ids])
        assert (old == ~new).all(), "the old classes' test images must be the same"
        before = np.array([self.was_right[id_] for id_, is_old in zip(split.ids, old, strict=True) if is_old])
        p = paired.mcnemar(right[old], before)
        result = float(right[old].mean()), p, float(right[new].mean())
        print(f"| {name} | {before.mean():.4f} | {result[0]:.4f} | {p:.3f} | {result[2]:.4f} |", flush=True)
        return result


def main() -> None:
    """Prints a table of all seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--pictures", type=int, default=10)
    parser.add_argument("settings", nargs="*")
    options = parser.parse_args()
    knobs = {key: __import__("yaml").safe_load(value) for key, _, value in (s.partition("=") for s in options.settings)}
    print("| model | old classes before | old classes | McNemar's p | new classes |")
    print("| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.seeds):
            run = Run(Path(folder), seed, knobs)
            images = run.sets[1].files.split("test").images()
            begun = time.perf_counter()
            started = sightline.train(run.sets[1], folder=run.root, start_from=str(run.before.path), **run.train_knobs)
            run.row(
                f"seed {seed}: from the model before ({time.perf_counter() - begun:.0f} s)",
                started.probabilities(images).argmax(1),
            )
            fresh = sightline.train(run.sets[1], folder=run.root, **run.train_knobs)
            run.row(f"seed {seed}: from random weights", fresh.probabilities(images).argmax(1))


if __name__ == "__main__":
    main()
