"""A sweep's command line: knobs in Hydra's grammar, what is fixed, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from sightline.config.compose import ConfigError
from sightline.sweep.extent import SweepExtent, extent
from sightline.sweep.search_space import SearchSpace, read_words


def read(*words: str) -> SearchSpace:
    return read_words(words)


@pytest.mark.parametrize(
    ("word", "name", "values"),
    [
        ("train.lr=0.1,0.2", "train.lr", ("0.1", "0.2")),
        ("train.lr=choice(1e-3,0.2)", "train.lr", ("0.001", "0.2")),
        ("train/model=cnn,dense", "train.model", ("cnn", "dense")),
        ("train.model=cnn,dense", "train.model", ("cnn", "dense")),
        ("train.model=glob(d*)", "train.model", ("dense",)),
        ("train.seed=range(1,4)", "train.seed", ("1", "2", "3")),
        ("train.model_options.width=8,16", "train.model_options.width", ("8", "16")),
        ("++train.model.width=8,16", "train.model_options.width", ("8", "16")),
        ("preprocess.size=16,24,16", "preprocess.size", ("16", "24")),
        ("export.int8.enabled=true,false", "export.int8.enabled", ("true", "false")),
    ],
)
def test_a_knob_is_read_in_hydras_grammar(project: Path, word: str, name: str, values: tuple[str, ...]) -> None:
    (knob,) = read("-m", word).knobs
    assert (knob.name, knob.values) == (name, values)
    assert not knob.interval


def test_intervals_are_of_whole_numbers_or_not_and_in_logs(project: Path) -> None:
    space = read("train.lr=tag(log,interval(1e-4,1e-1))", "train.batch_size=int(interval(16,64))")
    found = space.distributions(ordered=True)
    assert [type(each).__name__ for each in found.values()] == ["FloatDistribution", "IntDistribution"]
    assert found["train.lr"].log
    assert not space.is_grid


def test_the_grid_changes_knobs_of_the_data_least_often(project: Path) -> None:
    space = read("train.lr=0.1,0.2", "preprocess.size=8,16", "train.seed=3", "sweep.jobs=2")
    assert space.fixed == ("train.seed=3",)
    assert space.settings == ("sweep.jobs=2",)
    assert [space.words(values)[1:] for values in space.grid()] == [
        [f"preprocess.size={size}", f"train.lr={lr}"] for size in (8, 16) for lr in (0.1, 0.2)
    ]
    assert space.size == 4


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["train.lr=0.1"], "no setting has several values: give one a list, such as train.lr=0.001,0.003"),
        (["train.lr=1,2", "train.lr=3,4"], "train.lr: appears twice on the command line"),
        (
            ["train.lr=1,2", "--cfg"],
            "--cfg: a sweep has no such flag; its settings are sweep.n_trials, sweep.time, ...",
        ),
        (
            ["train.lr=1,2", "hydra/launcher=joblib"],
            "hydra/launcher=joblib: Hydra's sweepers and launchers are not used; see conf/sweep/default.yaml",
        ),
        (["sweep.jobs=1,2"], "sweep.jobs=1,2: a setting of the sweep itself takes only one value"),
        (
            ["train.lr=interval(2,1)"],
            "train.lr=interval(2,1): an interval needs two numbers, the lower first; on a log scale above 0",
        ),
        (["train.lr=glob(*)"], "train.lr=glob(*): glob(...) is for the choice of an option"),
        (["train.model=glob(zzz)"], "train/model=glob(zzz): not a value that a sweep accepts"),
    ],
)
def test_what_is_no_sweep_is_refused_in_one_line(project: Path, words: list[str], line: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read(*words)
    assert str(refused.value) == line


@pytest.mark.parametrize(
    ("sections", "metrics", "stage", "trains", "judged"),
    [
        (["train"], [], "train", True, []),
        (["preprocess"], ["val_loss"], "train", True, ["val_loss"]),
        (["baseline"], [], "baseline", False, ["baseline_accuracy"]),
        (["baseline", "train"], [], "baseline", True, ["baseline_accuracy"]),
        (["baseline"], ["test_mce"], "evaluate", True, ["test_mce"]),
        (["evaluate"], [], "evaluate", True, ["test_log_loss"]),
        (["export", "evaluate"], [], "export", True, ["bundle_megabytes"]),
        (["train"], ["val_accuracy", "bundle_latency_ms"], "export", True, ["val_accuracy", "bundle_latency_ms"]),
        (["promote"], [], "promote", True, ["promote_objections"]),
    ],
)
def test_jobs_go_as_far_as_their_knobs_and_metrics_ask(
    sections: list[str], metrics: list[str], stage: str, trains: bool, judged: list[str]
) -> None:
    assert extent(sections, metrics) == (SweepExtent(stage, trains), judged)


def test_a_metric_that_a_knob_cannot_change_is_refused() -> None:
    with pytest.raises(ConfigError) as refused:
        extent(["export"], ["val_loss"])
    assert str(refused.value) == (
        "sweep.metric: val_loss does not depend on any setting of export; name one of bundle_megabytes, "
        "bundle_latency_ms, promote_objections"
    )


def test_the_projects_own_values_are_those_to_begin_with_where_all_can_be_drawn(project: Path) -> None:
    config = OmegaConf.create({"train": {"lr": 0.002, "batch_size": 32, "model": {"name": "cnn", "dropout": 0.2}}})
    words = ["train.lr=tag(log,interval(1e-4,1e-1))", "train.batch_size=16,32", "train.model=cnn,dense"]
    space = read(*words, "++train.model_options.dropout=interval(0.0,0.5)")
    assert space.present(config) == {
        "train.lr": 0.002,
        "train.batch_size": "32",
        "train/model": "cnn",
        "++train.model.dropout": 0.2,
    }
    assert read("train.lr=interval(0.1,0.9)", "train.batch_size=16,32").present(config) is None
    assert read("train.lr=interval(0.001,0.9)", "train.batch_size=16,64").present(config) is None
