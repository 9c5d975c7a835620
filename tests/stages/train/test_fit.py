"""Training: the same bits every time, the best epoch kept, and faults told in one line."""

from __future__ import annotations

import contextlib
import csv
import functools
import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

import sightline
from sightline.config.compose import CONF
from sightline.core import files
from sightline.core.code_digest import CodeDigests
from sightline.core.errors import UserError
from sightline.datasets.processed_set import INDEX, ProcessedSet
from sightline.models import saved_model
from sightline.stages.train import checkpoint_io, hardware, stage
from sightline.stages.train.checkpoint_io import BEST, LAST, PREVIOUS
from sightline.stages.train.checkpointing import LogMetrics
from sightline.stages.train.fit import FitResult, fit
from sightline.stages.train.stage import TrainingRun
from tests.stages.train.small import processed_set, train_config

QUICK = {"train.max_epochs": 2, "train.patience": 5}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ProcessedSet:
    return processed_set(tmp_path_factory.mktemp("fit") / "processed")


@pytest.fixture(scope="module")
def fitted(data: ProcessedSet, tmp_path_factory: pytest.TempPathFactory) -> FitResult:
    return fit(data, train_config(**QUICK), tmp_path_factory.mktemp("fitted"))


def digest(result: FitResult) -> str:
    return files.sha256(saved_model.weights_bytes(result.classifier))


def validate(classifier: nn.Module, data: ProcessedSet) -> tuple[float, float]:
    """Recomputes loss and accuracy on the validation split, all at once."""
    val = data.split("val")
    labels = torch.from_numpy(val.labels)
    with torch.inference_mode():
        logits = classifier(torch.from_numpy(val.images()))
    return (
        float(nn.functional.cross_entropy(logits.double(), labels)),
        float((logits.argmax(1) == labels).double().mean()),
    )


@pytest.mark.slow
def test_two_runs_and_any_number_of_workers_give_the_same_bits(
    data: ProcessedSet, fitted: FitResult, tmp_path: Path
) -> None:
    again = fit(data, train_config(**QUICK), tmp_path / "again")
    workers = fit(data, train_config(**QUICK, **{"train.num_workers": 2}), tmp_path / "workers")
    assert digest(fitted) == digest(again) == digest(workers)
    assert fitted.history == again.history == workers.history


@pytest.mark.parametrize("change", [{"train.seed": 1}, {"train/augment": "none"}, {"train.batch_size": 15}])
def test_what_matters_does_change_them(
    data: ProcessedSet, fitted: FitResult, tmp_path: Path, change: dict[str, Any]
) -> None:
    assert digest(fit(data, train_config(**QUICK, **change), tmp_path)) != digest(fitted)


def test_torchs_global_generator_has_no_say(data: ProcessedSet, fitted: FitResult, tmp_path: Path) -> None:
    torch.manual_seed(12345)
    assert digest(fit(data, train_config(**QUICK), tmp_path)) == digest(fitted)


def test_history_has_a_row_an_epoch_and_the_log_gets_the_same(data: ProcessedSet, tmp_path: Path) -> None:
    logged: list[tuple[int, dict[str, float]]] = []
    result = fit(data, train_config(**QUICK), tmp_path, lambda metrics, epoch: logged.append((epoch, dict(metrics))))
    assert [row["epoch"] for row in result.history] == [0, 1]
    for (epoch, metrics), row in zip(logged, result.history, strict=True):  # the log may get more: times
        assert {"epoch": float(epoch), **metrics}.items() >= row.items()
    for row in result.history:
        assert set(row) == {"epoch", "train_loss", "val_loss", "val_accuracy", "lr"}
        assert all(map(math.isfinite, row.values()))
        assert 0 <= row["val_accuracy"] <= 1
        assert row["lr"] >= 0


@pytest.mark.slow
@pytest.mark.parametrize("monitor", ["val_loss", "val_accuracy"])
def test_the_best_epoch_is_restored(data: ProcessedSet, tmp_path: Path, monitor: str) -> None:
    """At so high a learning rate the last epoch is seldom the best one; the weights returned are the best one's."""
    settings: dict[str, Any] = {"train.max_epochs": 6, "train.patience": 6, "train.lr": 0.3, "train.monitor": monitor}
    settings |= {"train/schedule": "constant", "train.model.dropout": 0}
    for seed in range(8):
        result = fit(data, train_config(**settings, **{"train.seed": seed}), tmp_path / str(seed))
        if result.best["epoch"] < result.history[-1]["epoch"]:
            break
    else:
        raise AssertionError("no seed for which the last epoch is not the best one: nothing was tested")
    sign = 1 if monitor == "val_loss" else -1
    assert result.best == min(result.history, key=lambda row: sign * row[monitor])
    loss, accuracy = validate(result.classifier, data)
    assert loss == pytest.approx(result.best["val_loss"], rel=1e-4)
    assert accuracy == pytest.approx(result.best["val_accuracy"]) == result.validation.correct.mean()
    assert not result.classifier.training


@pytest.mark.slow
def test_training_stops_once_nothing_gets_better(data: ProcessedSet, tmp_path: Path) -> None:
    config = train_config(
        **{"train.max_epochs": 40, "train.patience": 2, "train.lr": 0.3, "train/schedule": "constant"}
    )
    result = fit(data, config, tmp_path)
    epochs = len(result.history)
    assert epochs < 40
    assert epochs - 1 - result.best["epoch"] == 2


@pytest.mark.slow
def test_it_learns(data: ProcessedSet, tmp_path: Path) -> None:
    config = train_config(**{"train.max_epochs": 12, "train.lr": 0.02, "train.patience": 12, "train/augment": "none"})
    result = fit(data, config, tmp_path)
    assert result.best["val_accuracy"] >= 0.9  # chance is a third
    assert result.history[-1]["train_loss"] < result.history[0]["train_loss"] / 2


def test_the_profile_says_what_the_bits_depend_on(fitted: FitResult) -> None:
    assert fitted.profile["torch"] == torch.__version__
    assert fitted.profile["threads"] == train_config().threads
    assert fitted.profile["device"] == "cpu"
    assert fitted.profile["precision"] == "32-true"
    json.dumps(fitted.profile)


# --- faults --------------------------------------------------------------------------------------------------------


def without(root: Path, split: str) -> ProcessedSet:
    """A set that lacks a split."""
    processed_set(root)
    table = pq.read_table(root / INDEX)
    pq.write_table(table.filter(pa.array([name != split for name in table["split"].to_pylist()])), root / INDEX)
    return ProcessedSet(root)


@pytest.mark.parametrize(("split", "name"), [("train", "training"), ("val", "validation")])
def test_an_empty_split_is_one_line(tmp_path: Path, split: str, name: str) -> None:
    data = without(tmp_path / "data", split)
    with pytest.raises(UserError, match=f"^no {name} images: .*; change preprocess") as caught:
        fit(data, train_config(**QUICK), tmp_path / "checkpoints")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize("name", ["gpu", "mps"])
def test_hardware_that_is_not_there_is_one_line(data: ProcessedSet, tmp_path: Path, name: str) -> None:
    there = {"gpu": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if there[name]:
        pytest.skip(f"this machine has it: {name}")
    with pytest.raises(UserError, match=f"^train.trainer: {name} was asked for, but torch sees none"):
        fit(data, train_config(**QUICK, **{"train/trainer": name}), tmp_path)


@pytest.mark.parametrize("monitor", ["val_loss", "val_accuracy"])
def test_a_diverged_training_is_one_line_not_a_model(
    data: ProcessedSet,
    tmp_path: Path,
    monitor: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = train_config(**{"train.lr": 1e30, "train/optimizer": "sgd", "train.monitor": monitor})
    checkpoints = tmp_path / "checkpoints"
    diverges = pytest.raises(UserError, match=r"^training diverged: val_loss is nan .*; lower train\.lr$")
    monkeypatch.setattr(shutil, "rmtree", lambda _: None)  # as if killed just before
    with diverges:
        fit(data, config, checkpoints)
    monkeypatch.undo()
    assert (checkpoints / LAST).is_file()
    with diverges:
        fit(data, config, checkpoints)
    assert not checkpoints.exists()
    assert "resuming" not in capsys.readouterr().out


@pytest.fixture(scope="module")
def whole(data: ProcessedSet, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The weights of an undisturbed training, and its checkpoints as a kill at its very end leaves them."""
    checkpoints = tmp_path_factory.mktemp("whole") / "checkpoints"
    return digest(fit(data, train_config(**QUICK), checkpoints)), checkpoints


@pytest.mark.parametrize(
    ("damaged", "note", "goes_on"),
    [
        ([LAST], "training resumes from the previous one", "resuming in epoch 2,"),
        ([LAST, PREVIOUS], "training restarts", None),
        ([BEST], "training restarts", None),
        ([PREVIOUS], None, "resuming in epoch 3,"),
    ],
)
@pytest.mark.parametrize("cut", [True, False])
def test_a_damaged_checkpoint_is_set_aside_and_the_weights_are_the_same(
    data: ProcessedSet,
    whole: tuple[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    damaged: list[str],
    note: str | None,
    goes_on: str | None,
    cut: bool,
) -> None:
    weights, checkpoints = whole
    folder = tmp_path / "checkpoints"
    shutil.copytree(checkpoints, folder)
    for name in damaged:
        content = (folder / name).read_bytes()
        middle = len(content) // 2
        flipped = content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :]
        (folder / name).write_bytes(content[:middle] if cut else flipped)
    assert digest(fit(data, train_config(**QUICK), folder)) == weights
    shown = capsys.readouterr()
    lines = [line for line in (shown.err + shown.out).splitlines() if line.startswith("train: ")]
    expected = [f"train: {folder / n} is damaged, and set aside as {n}.damaged: {note}" for n in damaged if note]
    assert lines[: len(expected)] == expected
    assert [goes_on in line for line in lines[len(expected) :]] == [True] if goes_on else len(lines) == len(expected)
    assert all((folder / f"{name}.damaged").exists() for name in damaged) == bool(note)


def test_a_project_that_was_moved_keeps_the_best_epoch_it_had(data: ProcessedSet, tmp_path: Path) -> None:
    worsens = train_config(**{**QUICK, "train.max_epochs": 4, "train.lr": 0.5, "train.monitor": "val_accuracy"})
    calm = fit(data, worsens, tmp_path / "here")
    assert calm.best["epoch"] < 3
    (tmp_path / "here").rename(tmp_path / "there")
    (tmp_path / "there" / PREVIOUS).replace(tmp_path / "there" / LAST)  # as if killed in the last epoch
    assert digest(fit(data, worsens, tmp_path / "there")) == digest(calm)


def test_a_best_epoch_damaged_while_training_is_one_line_and_then_trained_anew(
    data: ProcessedSet, whole: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "checkpoints"
    read = checkpoint_io.read_checkpoint

    def at_the_end(path: Path) -> dict[str, Any]:
        if path.name == BEST:
            path.write_bytes(path.read_bytes()[:-100])
        return read(path)

    monkeypatch.setattr(checkpoint_io, "read_checkpoint", at_the_end)
    with pytest.raises(UserError, match=r"best\.ckpt was damaged .* restarts training$"):
        fit(data, train_config(**QUICK), folder)
    monkeypatch.undo()
    assert digest(fit(data, train_config(**QUICK), folder)) == whole[0]


# --- the stage -----------------------------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "conf").symlink_to(CONF.resolve())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_stage_writes_model_description_and_history(
    project: Path, data: ProcessedSet, capsys: pytest.CaptureFixture[str]
) -> None:
    training = TrainingRun(data.root, train_config(**QUICK))
    trained = training.run(project / "models", project / "reports" / "history.csv")
    classifier, info = saved_model.load_model(project / "models")
    assert trained.model_digest == info.weights_sha256 == files.sha256_file(project / "models" / saved_model.WEIGHTS)
    assert trained.data_digest == info.lineage.data_sha256 == data.digest
    assert trained.counts == {"train": 96, "val": 30, "test": 0, "classes": 3}
    assert info.classes == data.classes
    assert info.lineage.transform_sha256 == files.sha256_file(data.transform)
    assert info.lineage.training["optimizer"]["name"] == "adamw"
    assert "num_workers" not in info.lineage.training  # results do not depend on it
    assert info.lineage.best_epoch["val_loss"] == pytest.approx(trained.best["val_loss"], rel=1e-5)
    loss, _ = validate(classifier, data)
    assert loss == pytest.approx(trained.best["val_loss"], rel=1e-4)
    with (project / "reports" / "history.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert not training.checkpoints.exists()  # done: nothing to go on with
    printed = capsys.readouterr().out
    assert "96 images of 3 classes" in printed
    assert "epoch   2/2" in printed


def test_the_stages_outputs_are_the_same_bytes_every_time(project: Path, data: ProcessedSet) -> None:
    digests = set()
    for name, workers in (("one", 0), ("two", 2)):
        config = train_config(**QUICK, **{"train.num_workers": workers})
        TrainingRun(data.root, config).run(project / name, project / name / "history.csv")
        digests.add(files.sha256_tree(project / name))
    assert len(digests) == 1


def test_a_diverged_training_leaves_the_old_model(project: Path, data: ProcessedSet) -> None:
    (project / "models").mkdir()
    (project / "models" / saved_model.WEIGHTS).write_bytes(b"old")
    with pytest.raises(UserError, match="diverged"):
        TrainingRun(data.root, train_config(**{"train.lr": 1e30, "train/optimizer": "sgd"})).run(
            project / "models", project / "history.csv"
        )
    assert (project / "models" / saved_model.WEIGHTS).read_bytes() == b"old"
    assert not (project / "models" / saved_model.INFO).exists()


def test_what_a_training_is_names_its_checkpoints(project: Path, data: ProcessedSet, tmp_path: Path) -> None:
    def place(root: Path, **change: Any) -> Path:
        return TrainingRun(root, train_config(**change)).checkpoints

    other = processed_set(tmp_path / "other", train=90)
    places = [
        place(data.root),
        place(other.root),
        place(data.root, **{"train.lr": 0.5}),
        place(data.root, **{"train.model.width": 5}),
        place(data.root, **{"train.seed": 1}),
    ]
    assert len(set(places)) == len(places)
    assert place(data.root, **{"train.num_workers": 2}) == places[0]


def test_precision_is_full_on_a_cpu() -> None:
    config = train_config(**{"train/trainer": "auto"})
    if not torch.cuda.is_available():
        assert hardware.prepare(config.trainer, config.threads) == "32-true"


def test_a_training_whose_code_changed_begins_anew(
    project: Path,
    data: ProcessedSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Killed after its first epoch; a comment in code it runs changes nothing, one token begins anew."""
    code = tmp_path / "code" / "sightline"
    shutil.copytree(Path(sightline.__file__).parent, code, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(stage, "CodeDigests", functools.partial(CodeDigests, package=code, memory=None))
    seeds = code / "core" / "seeds.py"
    before = TrainingRun(data.root, train_config(**QUICK)).checkpoints

    def killed(metrics: Mapping[str, float], epoch: int) -> None:
        raise SystemExit(1)  # after the epoch's checkpoint

    def run(log: LogMetrics | None = None) -> str:
        with contextlib.suppress(SystemExit):
            TrainingRun(data.root, train_config(**QUICK)).run(project / "models", project / "history.csv", log)
        return capsys.readouterr().out

    assert "resuming" not in run(killed)
    assert (before / "last.ckpt").exists()
    source = seeds.read_text()
    seeds.write_text(source.replace('"big"', '"little"', 1))
    assert TrainingRun(data.root, train_config(**QUICK)).checkpoints != before
    assert "resuming" not in run()
    assert (before / "last.ckpt").exists()  # that of the other code
    seeds.write_text(f"{source}\n# A comment.\n")
    assert "resuming in epoch 2" in run()
