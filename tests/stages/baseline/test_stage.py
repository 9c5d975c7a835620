"""Files that the stage writes: the same bytes at every run, nothing that is pickled, no time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sightline.core import cpu_threads, files
from sightline.core.errors import ConfigError, UserError
from sightline.datasets import predictions
from sightline.imaging import corruptions
from sightline.stages.baseline import console, side_by_side, stage
from sightline.stages.baseline.baseline_job import Job, MethodResult, training_images
from sightline.stages.baseline.method import METHODS, BaselineMethod
from sightline.stages.baseline.side_by_side import Team
from sightline.stages.baseline.stage import run_methods
from tests.stages.baseline.conftest import Write, configuration, digits

DEFAULT = ["majority", "pixels_logreg", "dense", "hog_svm", "sift_svm"]
"""The methods of conf/, which need no pretrained weights."""

AGAIN = """
import sys
from pathlib import Path
from sightline.stages.baseline.stage import run_methods
from sightline.datasets.processed_set import ProcessedSet
from sightline.stages.baseline.side_by_side import Team
from tests.stages.baseline.conftest import configuration
data, out, raw = map(Path, sys.argv[1:])
with Team(6, 3) as workers:  # before anything is read: copies of this process
    print(*(type(each._process).__name__ for each in workers._workers))
    config = configuration(robustness_images=20, learning_curve="majority", epochs=30, folds=2)
    run_methods(ProcessedSet(data), config, out, raw, workers, lambda result: print(result.name))
"""


def contents(folder: Path) -> dict[str, str]:
    return {path.name: files.sha256_file(path) for path in folder.iterdir()}


def test_the_same_bytes_in_other_processes(write: Write, tmp_path: Path) -> None:
    images, labels = digits(400)
    data = write(images, labels, ["train"] * 280 + ["val"] * 20 + ["test"] * 100)
    raw = tmp_path / "raw"
    config = configuration(robustness_images=20, learning_curve="majority", epochs=30, folds=2)
    scored = run_methods(data, config, tmp_path / "one", raw)
    assert [each.name for each in scored] == DEFAULT
    environment = {**os.environ, "PYTHONHASHSEED": "7", "TZ": "Asia/Kathmandu"}
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):  # the stage sees to its threads itself
        environment.pop(name, None)
    command = [sys.executable, "-c", AGAIN, str(data.root), str(tmp_path / "two"), str(raw)]
    printed = subprocess.run(command, check=True, env=environment, capture_output=True, text=True).stdout.split()
    assert sorted(printed) == sorted(["_Fork"] * 3 + DEFAULT)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert set(contents(tmp_path / "one")) == {"baselines.json", *(f"{name}.parquet" for name in DEFAULT)}

    summary = json.loads((tmp_path / "one" / "baselines.json").read_text())
    assert set(summary["methods"]) == set(DEFAULT)
    for each in scored:
        kept = summary["methods"][each.name]
        assert kept.keys() == {"title", "accuracy", "accuracy_low", "accuracy_high", "f1_macro", "bytes", "parameters"}
        answers = predictions.load_predictions(tmp_path / "one" / f"{each.name}.parquet")
        assert answers.ids == data.split("test").ids
        assert kept["accuracy"] == pytest.approx(answers.correct.mean(), abs=1e-6)
        assert kept["accuracy_low"] <= kept["accuracy"] <= kept["accuracy_high"]
        assert kept["bytes"] == each.bytes > 0
        assert each.fit_seconds > 0
        assert (answers.probabilities.argmax(axis=1) == answers.predicted).all()
    best = max(DEFAULT, key=lambda name: summary["methods"][name]["accuracy"])
    assert summary["methods"][best]["accuracy"] > 0.9
    assert summary["methods"]["majority"]["accuracy"] < 0.2
    assert len(console.method_lines(scored)) == 1 + len(DEFAULT)


def test_the_reference_is_measured_on_corrupted_images(write: Write, tmp_path: Path) -> None:
    images, labels = digits(400)
    data = write(images, labels, ["train"] * 300 + ["test"] * 100)

    def table_of(**changes: object) -> dict[str, Any]:
        config = configuration(methods="[majority,pixels_logreg]", robustness_images=30, **changes)
        run_methods(data, config, tmp_path / "out", tmp_path / "raw")
        return dict(json.loads((tmp_path / "out" / "baselines.json").read_text()))

    found = table_of(reference="pixels_logreg")
    assert found["reference"] == "pixels_logreg"
    assert list(found["corruption_errors"]) == sorted(corruptions.NAMES)
    rates = np.array(list(found["corruption_errors"].values()))
    assert rates.shape == (len(corruptions.NAMES), 5)
    clean = 1 - found["methods"]["pixels_logreg"]["accuracy"]
    assert clean < rates.mean() < rates[:, 4].mean() < 0.9
    # The majority sees nothing, and so no corruption: it errs as often under each.
    blind = table_of(reference="majority")
    (rate,) = {rate for rates in blind["corruption_errors"].values() for rate in rates}
    assert rate > 0.5
    assert found["corruption_sample"] == blind["corruption_sample"]
    assert found["corruption_sample"] != table_of(reference="majority", seed=1)["corruption_sample"]
    # A reference that is not among the methods is not measured.
    assert table_of(reference="dense")["corruption_errors"] == {}


def test_augmented_copies_and_other_splits_are_left_out(write: Write) -> None:
    images, labels = digits(8)
    origins = ["00000", "00000", "00002", "00003", "00004", "00005", "00006", "00007"]
    data = write(images, labels, ["train"] * 4 + ["val"] * 2 + ["test"] * 2, origins)
    seen, of_class = training_images(data, configuration())
    assert (seen == images[[0, 2, 3]]).all()
    assert of_class.tolist() == [0, 2, 3]
    assert len(training_images(data, configuration(train_images=2))[0]) == 2


def test_only_what_was_chosen(write: Write, tmp_path: Path) -> None:
    images, labels = digits(20)
    data = write(images, labels, ["train"] * 10 + ["test"] * 10)
    out = tmp_path / "out"
    run_methods(data, configuration(methods="[majority,pixels_logreg]"), out)
    assert set(contents(out)) == {"baselines.json", "majority.parquet", "pixels_logreg.parquet"}
    assert run_methods(data, configuration(methods="[]"), out) == []
    assert set(contents(out)) == {"baselines.json"}
    assert console.method_lines([]) == []


class BrightnessBaseline(BaselineMethod):
    """Two classes, told apart by the mean level of an image: all that a new method has to be."""

    title = "brightness"

    def fit(self, images: np.ndarray, labels: np.ndarray) -> None:
        level = images.mean(axis=(1, 2, 3))
        self.levels = np.array([level[labels == label].mean() for label in range(self.num_classes)])

    def predict_proba(self, images: np.ndarray) -> np.ndarray:
        nearest = np.abs(images.mean(axis=(1, 2, 3))[:, None] - self.levels).argmin(axis=1)
        return np.eye(self.num_classes)[nearest]

    def parameters(self) -> dict[str, Any]:
        return {}

    def arrays(self) -> list[np.ndarray]:
        return [self.levels]


def test_one_registered_class_is_a_method(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    list(METHODS)  # those of the package, before the one that goes again
    monkeypatch.setitem(METHODS._options, "brightness", BrightnessBaseline)
    images = np.repeat(np.array([20, 200] * 10, np.uint8), 64).reshape(20, 8, 8, 1)
    data = write(images, np.array([0, 1] * 10), ["train"] * 10 + ["test"] * 10, classes=2)
    config = configuration(methods="[brightness]")
    assert [result.numbers["accuracy"] for result in run_methods(data, config, tmp_path / "out")] == [1.0]


@pytest.mark.parametrize("missing", ["train", "test"])
def test_an_empty_split_is_one_line_and_writes_nothing(write: Write, tmp_path: Path, missing: str) -> None:
    images, labels = digits(10)
    data = write(images, labels, [{"train": "test", "test": "train"}[missing]] * 10)
    with pytest.raises(UserError, match=rf"'{missing}' .* has no images: \w+ preprocess.test_fraction"):
        run_methods(data, configuration(methods="[majority]"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_new_processes_where_this_one_has_threads(
    write: Write, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images, labels = digits(60)
    data = write(images, labels, ["train"] * 40 + ["test"] * 20)
    came: list[MethodResult] = []
    with Team(2, 2) as workers:
        config = configuration(methods="[pixels_logreg,majority]", folds=2)
        results = run_methods(data, config, tmp_path / "two", None, workers, came.append)
        run_methods(data, config, tmp_path / "one")
        assert [each.name for each in results] == ["pixels_logreg", "majority"]
        assert {each.name for each in came} == {"pixels_logreg", "majority"}
        assert contents(tmp_path / "one") == contents(tmp_path / "two")
        # What a method raises, here for want of validation images, is the stage's one line.
        with pytest.raises(UserError, match=r"no images to score it on: raise preprocess\.val_fraction"):
            run_methods(data, configuration(methods="[]", learning_curve="majority"), tmp_path / "bad", None, workers)
    with Team(2, 2) as workers:
        workers._workers[0].kill()
        with pytest.raises(UserError, match=r"a worker process ended .*killed by signal 9; .* SIGHTLINE_NUM_WORKERS=1"):
            run_methods(data, config, tmp_path / "bad", None, workers)
    with Team(2, 2) as workers:
        list(workers.run([], tmp_path, None, lambda _: None))  # until they are ready
        workers._workers[0].kill()
        with pytest.raises(UserError, match=r"a worker process ended \(killed by signal 9"):
            run_methods(data, config, tmp_path / "bad", None, workers)
    assert not (tmp_path / "bad").exists()
    caplog.set_level("INFO")
    assert run_methods(data, configuration(minutes=1e-9), tmp_path / "late") == []
    assert "left out after 1e-09 minutes (baseline.minutes): majority, pixels_logreg, dense" in caplog.text


def test_processes_begin_the_slow_methods_first_unless_some_may_be_left_out() -> None:
    def order(**knobs: float) -> list[str]:
        config = configuration(**knobs)
        return [job.name for job in stage._begun_first([Job(n, Path(), config, None) for n in config.methods], config)]

    assert order() == ["dense", "sift_svm", "hog_svm", "pixels_logreg", "majority"]
    assert order(minutes=5) == ["majority", "pixels_logreg", "dense", "hog_svm", "sift_svm"]


def test_the_environment_says_how_many_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(side_by_side.PROCESSES, raising=False)
    assert side_by_side.process_count() == cpu_threads.available()
    for text, number in (("0", 1), ("1", 1), ("3", 3)):
        monkeypatch.setenv(side_by_side.PROCESSES, text)
        assert side_by_side.process_count() == number
    assert len(Team(1)) == len(Team(5, 1)) == 0
    monkeypatch.setenv(side_by_side.PROCESSES, "two")
    with pytest.raises(UserError, match="SIGHTLINE_NUM_WORKERS is 'two'"):
        side_by_side.process_count()


def test_a_class_that_training_lacks_is_never_named(write: Write, tmp_path: Path) -> None:
    images, labels = digits(300)
    splits = ["test" if label == 4 or i % 4 == 0 else "train" for i, label in enumerate(labels)]
    data = write(images, labels, splits)
    scored = run_methods(data, configuration(methods="[dense,hog_svm,sift_svm]", epochs=20), tmp_path / "out")
    for each in scored:
        answers = predictions.load_predictions(tmp_path / "out" / f"{each.name}.parquet")
        assert 4 in answers.labels
        assert 4 not in answers.predicted
        assert np.isfinite(each.numbers["log_loss"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"methods": "[knn]"},
            "baseline.methods: 'knn' is not one of dense, hog_svm, majority, pixels_logreg, pretrained_knn, ",
        ),
        ({"methods": "[dense,majority,dense]"}, "baseline.methods: dense is listed twice"),
        ({"methods": "dense"}, "baseline.methods: "),
        ({"reference": "cnn"}, "baseline.reference: 'cnn' is not one of dense, hog_svm"),
        ({"folds": 1}, "baseline.folds: 1 is not between 2 and 20"),
        ({"words": 1}, "baseline.words: must be at least 2, not 1"),
        ({"seed": -1}, "baseline.seed: must be at least 0, not -1"),
    ],
)
def test_a_bad_configuration_is_one_line(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        configuration(**changes)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_imports_no_torch_or_mlflow() -> None:
    code = "import sys, sightline.stages.baseline.stage; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(out.stdout.split()) & {"torch", "lightning", "pytorch_lightning", "mlflow", "matplotlib", "hydra"}
    code = "import sys, sightline.stages.baseline.config; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(out.stdout.split()) & {"numpy", "sklearn", "cv2", "hydra"}
