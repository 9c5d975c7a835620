"""A sweep's command line: knobs in Hydra's grammar, what is fixed, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from sightline.config.compose import ConfigError, read_params
from sightline.sweep.search_space import SearchSpace, read_words

QUEUED = "dvc exp run --queue -S evaluate.gallery=1,2 && dvc queue start (or set it in params.yaml and run dvc repro)"


def read(*words: str) -> SearchSpace:
    return read_words(words, read_params())


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
        (["train.lr=0.1"], "no knob has several values: give one a list, as train.lr=0.001,0.003"),
        (
            ["evaluate.gallery=1,2"],
            f"evaluate.gallery: a setting of evaluate, which is not run here; this does it: {QUEUED}",
        ),
        (["train.lr=1,2", "train.lr=3,4"], "train.lr: stands twice on the command line"),
        (
            ["train.lr=1,2", "--cfg"],
            "--cfg: a sweep has no such flag; its settings are sweep.n_trials, sweep.time, ...",
        ),
        (
            ["train.lr=1,2", "hydra/launcher=joblib"],
            "hydra/launcher=joblib: Hydra's sweepers and launchers are not used; see conf/sweep/default.yaml",
        ),
        (["sweep.jobs=1,2"], "sweep.jobs=1,2: a setting of the sweep itself has one value"),
        (
            ["train.lr=interval(2,1)"],
            "train.lr=interval(2,1): an interval is of two numbers, the lower first; in logs above 0",
        ),
        (["train.lr=glob(*)"], "train.lr=glob(*): glob(...) is for the choice of an option"),
        (["train.model=glob(zzz)"], "train/model=glob(zzz): there is no value of that kind"),
    ],
)
def test_what_is_no_sweep_is_refused_in_one_line(project: Path, words: list[str], line: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read(*words)
    assert str(refused.value) == line
