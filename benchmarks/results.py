"""Comparison of the network with the baselines, as a Markdown table.

    python benchmarks/results.py FOLDER [FOLDER ...]

Each folder is a copy of the project in which `dvc repro` has run. Several folders are treated as folds of one dataset
(`preprocess.fold`): their test images, which must all differ, are pooled. A baseline's p is that of the exact McNemar
test of the hypothesis that the baseline and the network have the same error rate on these images. The lead is the
network's accuracy minus the baseline's, with its 95 % score interval (Tango).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from sightline.datasets import predictions
from sightline.datasets.predictions import Predictions
from sightline.metrics import paired
from sightline.metrics.intervals import wilson
from sightline.metrics.paired import mcnemar
from sightline.reporting.formatting import score

NETWORK = Path("reports/predictions.parquet")
BASELINES = Path("reports/baselines")
TARGET = 0.01


def pooled(files: list[Path]) -> Predictions:
    """Returns the pooled predictions of several files, which must be for different images."""
    parts = [predictions.load_predictions(path) for path in files]
    ids = [name for part in parts for name in part.ids]
    assert len(set(ids)) == len(ids), f"{files[0]} and others share test images: they are no folds of one set"
    columns = ("labels", "predicted", "probabilities")
    return Predictions(ids, *(np.concatenate([getattr(part, name) for part in parts]) for name in columns))


def row(name: str, answers: Predictions, network: Predictions | None) -> str:
    """Returns a method's row of the table."""
    hits, images = int(answers.correct.sum()), len(answers.ids)
    low, high = wilson(hits, images)
    cells = [name, score(hits / images), f"{score(low)} to {score(high)}", str(images - hits)]
    if network is None:
        return f"| {' | '.join([*cells, '', ''])} |"
    assert network.ids == answers.ids, f"{name} was scored on other images than the network"
    p = mcnemar(network.correct, answers.correct)
    difference, below, above = paired.difference(network.correct, answers.correct)
    ahead = difference > 0 and p < TARGET
    cells += [
        f"{100 * difference:+.2f} ({100 * below:+.2f} to {100 * above:+.2f})",
        f"{f'{p:.1e}' if p else 'below 1e-300'}{'' if ahead else ' (no)'}",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Prints the table; `(no)` marks a baseline that the network does not beat with p < 0.01."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    folders = parser.parse_args().folders
    methods = json.loads((folders[0] / BASELINES / "baselines.json").read_text())["methods"]
    has_network = all((folder / NETWORK).is_file() for folder in folders)
    network = pooled([folder / NETWORK for folder in folders]) if has_network else None
    print("| method | accuracy | 95 % interval | errors | network's lead, points | p |")
    print("| --- | --- | --- | --- | --- | --- |")
    if network is not None:
        print(row("**network**", network, None))
    for name in methods:
        print(row(f"`{name}`", pooled([folder / BASELINES / f"{name}.parquet" for folder in folders]), network))


if __name__ == "__main__":
    main()
