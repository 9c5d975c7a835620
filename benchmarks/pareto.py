"""The Pareto front of the networks: accuracy, latency and size, in 32-bit floats and 8-bit integers.

    python benchmarks/pareto.py FOLDER [--networks cnn_16 dense ...] [--epochs 50] [--seconds 300] [--measure-only]

Uses photographs of hands at 64 pixels (folder SIGHTLINE_SHARED_DATA), preprocessed in FOLDER. Each network is trained
there with one thread and the settings of docs/results.md, for 50 epochs or as many as fit into 300 seconds of CPU time
at the speed of its first steps. If fewer than five epochs fit, the network is not trained. Models that already exist in
FOLDER are not trained again, so an interrupted run can be resumed. Then all networks take turns on ONNX Runtime, with
one image and one thread. The latency is the median of the thread's CPU time, which hardly depends on other programs.
`*` marks the Pareto front: no other row is at least as good in accuracy on the test split, latency and size.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pretrained import pictures

import sightline
from sightline.api.settings import section
from sightline.datasets.processed_set import ProcessedSet, Split
from sightline.models.classifier import Classifier, build_classifier
from sightline.models.saved_model import load_model
from sightline.predict.inference_model import open_session
from sightline.stages.export.int8 import calibration_images, to_int8
from sightline.stages.export.onnx import INPUT, to_onnx
from sightline.stages.train.config import TrainConfig
from sightline.stages.train.stage import TrainingRun
from sightline.stages.train.tuner import images_per_second

SIDE = 64
FEWEST = 5
ROUNDS = 30
SETTINGS: dict[str, Any] = {
    "trainer": "cpu",
    "threads": 1,
    "schedule": "one_cycle",
    "lr": 0.005,
    "patience": 1000,
    "augment": "digits",
}
PACKAGE = {"model": "efficientnet_lite0", "model_options": {"weights": "package"}}
NETWORKS: dict[str, dict[str, Any]] = {
    "cnn_8": {"model": "cnn", "model_options": {"width": 8}},
    "cnn_16": {"model": "cnn", "model_options": {"width": 16}},
    "cnn_16_full": {"model": "cnn", "model_options": {"width": 16, "stem": "full"}},
    "cnn_32": {"model": "cnn", "model_options": {"width": 32}},
    "dense": {"model": "dense"},
    "resnet9_16": {"model": "resnet9", "model_options": {"width": 16}},
    "resnet9": {"model": "resnet9"},
    "wide_resnet_10_1": {"model": "wide_resnet", "model_options": {"depth": 10, "widen_factor": 1}},
    "wide_resnet": {"model": "wide_resnet"},
    "mobilenet_v3": {"model": "mobilenet_v3"},
    "efficientnet_lite0_probe": {**PACKAGE, "recipe": "probe"},
    "efficientnet_lite0_finetune": {**PACKAGE, "recipe": "finetune", "lr": 0.002},
    "resnet18": {"model": "resnet18"},
}
"""Training settings of each row; the first measured row with width 16 is the unit of the latencies."""


@dataclass
class Form:
    """A network in one form.

    Attributes:
        network: The network's name.
        form: The form's name.
        accuracy: Accuracy on the test split, in [0, 1]; None if the network is not trained.
        seconds: CPU seconds per image.
        size: Size in bytes.
    """

    network: str
    form: str
    accuracy: float | None
    seconds: float
    size: int

    def beats(self, other: Form) -> bool:
        """Returns whether this form is at least as good in every respect, and better in at least one."""
        if self.accuracy is None or other.accuracy is None:
            return False
        ours, theirs = ((-each.accuracy, each.seconds, each.size) for each in (self, other))
        return ours != theirs and all(a <= b for a, b in zip(ours, theirs, strict=True))


def prepared(folder: Path) -> ProcessedSet:
    """Ingests and preprocesses the photographs of hands in a folder, and returns the processed set."""
    raw = sightline.ingest(pictures("hands", folder), folder=folder)
    return ProcessedSet(sightline.preprocess(raw, size=SIDE, channels=3, folder=folder).path)


def train(data: ProcessedSet, name: str, folder: Path, epochs: int, seconds: float) -> None:
    """Trains a network for `epochs`, or as many as fit into `seconds` of CPU time; writes a note of both figures."""
    settings, _ = section("train", TrainConfig, {**SETTINGS, **NETWORKS[name]})
    count = len(data.originals("train"))
    probe = settings.recipe.name == "probe"  # computes the features of each image once
    if not probe:
        wall, cpu = time.perf_counter(), time.process_time()
        speed = images_per_second(data, settings)
        share = (time.process_time() - cpu) / (time.perf_counter() - wall)  # of a core, also used by other programs
        epochs = min(epochs, int(seconds * speed / share / count))
    note: dict[str, Any] = {"epochs": 1 if probe else epochs}
    if probe or epochs >= FEWEST:
        begun = time.process_time()
        run = TrainingRun(data.root, dataclasses.replace(settings, max_epochs=note["epochs"]))
        run.run(folder / "model", folder / "history.csv")
        note["cpu_seconds"] = round(time.process_time() - begun, 1)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "note.json").write_text(json.dumps(note))
    print(f"{name}: {note}", flush=True)


def network(name: str, folder: Path, data: ProcessedSet) -> tuple[Classifier, bool]:
    """Returns the network and True if it is trained, or the network with random weights and False."""
    if (folder / "model").is_dir():
        return load_model(folder / "model")[0], True
    settings, _ = section("train", TrainConfig, NETWORKS[name])
    return build_classifier(settings.model, (SIDE, SIDE, 3), len(data.classes), [0.5] * 3, [0.25] * 3).eval(), False


def forms(names: list[str], folder: Path, data: ProcessedSet) -> list[Form]:
    """Measures all networks in both forms, taking turns."""
    test, calibration = data.split("test"), calibration_images(data.split("train"), 100)
    sessions, found = {}, []
    for name in names:
        classifier, trained = network(name, folder / name, data)
        fp32 = to_onnx(classifier, (SIDE, SIDE, 3), 20)
        for form, model in {"fp32": fp32, "int8": to_int8(fp32, calibration)}.items():
            session = sessions[name, form] = open_session(model, 1)
            found.append(Form(name, form, accuracy(session, test) if trained else None, 0.0, len(model)))
    image = test.images()[:1]
    times: dict[tuple[str, str], list[float]] = {key: [] for key in sessions}
    for _ in range(ROUNDS):
        for key, session in sessions.items():
            begun = time.thread_time()
            session.run(None, {INPUT: image})
            times[key].append(time.thread_time() - begun)
    return [dataclasses.replace(each, seconds=statistics.median(times[each.network, each.form])) for each in found]


def accuracy(session: Any, test: Split) -> float:
    """Returns the share of a split's images that a session classifies correctly."""
    answers = np.concatenate([session.run(None, {INPUT: image[None]})[0] for image in test.images()])
    return float((answers.argmax(axis=1) == test.labels).mean())


def main() -> None:
    """Trains the missing models and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--train-only", action="store_true")
    parser.add_argument("--measure-only", action="store_true", help="train nothing; untrained networks get no accuracy")
    given = parser.parse_args()
    torch.set_num_threads(1)
    data = prepared(given.folder)
    for name in [] if given.measure_only else given.networks:
        if not (given.folder / name / "note.json").exists():
            train(data, name, given.folder / name, given.epochs, given.seconds)
    if given.train_only:
        return
    found = forms(given.networks, given.folder, data)
    unit = next((each for each in found if each.network == "cnn_16"), found[0])
    print(f"1 is {unit.network} in fp32, {1000 * unit.seconds:.3f} ms")
    print("| network | form | accuracy | latency | MB | epochs, CPU time | front |\n" + "| --- " * 7 + "|")
    for each in found:
        path = given.folder / each.network / "note.json"
        note = json.loads(path.read_text()) if path.exists() else {}
        right = "-" if each.accuracy is None else f"{each.accuracy:.4f}"
        effort = f"{note['epochs']}, {note['cpu_seconds']:.0f} s" if "cpu_seconds" in note else "-"
        front = "*" if each.accuracy is not None and not any(other.beats(each) for other in found) else ""
        cells = [f"`{each.network}`", each.form, right, f"{each.seconds / unit.seconds:.2f}", f"{each.size / 1e6:.2f}"]
        print("| " + " | ".join([*cells, effort, front]) + " |")


if __name__ == "__main__":
    main()
