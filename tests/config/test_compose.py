"""conf/ + params.yaml + command line -> one typed configuration, or one line that says what is wrong with it."""

from __future__ import annotations

import doctest
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra
from hypothesis import example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from ruamel.yaml import YAML

from sightline.config import compose as config
from sightline.config import params
from sightline.config.compose import CONF, compose, read_params, saved_overrides, selecting, typed
from sightline.config.sections import check, schema_of, schemas
from sightline.core.errors import ConfigError
from sightline.stages.train.config import TrainConfig

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def conf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minimal conf/: one stage with a knob for any value, one choice, and a mapping without keys of its own."""
    root = tmp_path_factory.mktemp("project") / "conf"
    (root / "stage" / "choice").mkdir(parents=True)
    (root / "config.yaml").write_text("defaults: [{stage: default}, _self_]\n")
    (root / "stage" / "default.yaml").write_text(
        "defaults: [{choice: one}, _self_]\nknob: null\nmore: null\nother: ${stage.knob}\nfree: {}\n"
    )
    (root / "stage" / "choice" / "one.yaml").write_text("name: one\nwidth: 1\n")
    (root / "stage" / "choice" / "two.yaml").write_text("name: two\nlength: 2\nextra: {}\n")
    return root


# --- params.yaml as a saved command line ---------------------------------------------------------------------------

# What YAML can hold, but for what ruamel.yaml writes and does not read, and "$", which begins an interpolation: see
# test_interpolations.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="$\0\x85"), max_size=20)
TRICKY = st.sampled_from(
    [
        *[
            "",
            " ",
            "null",
            "NULL",
            "true",
            "False",
            "nan",
            "-inf",
            "1",
            "1.5",
            "1e3",
            "0x10",
            "1_000",
            "~",
            "a,b",
            "x=1",
        ],
        *["'", '"', "\\", "\\'", "\\\\'", "it's", "a\\", "a\\\n", "\n", "\ttab ", "{a: 1}", "[1]", "{", "choice(1,2)"],
        *["#no comment", "-m", "--help", "größe", "数字", "\U0001f600", "C:\\data\\new", "a:b", "@x", "é'", "\u2028"],
    ]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT | TRICKY
KEYS = st.from_regex(r"[a-z_$][a-zA-Z0-9_.$-]{0,5}( [a-z]{1,3})?", fullmatch=True).filter(
    lambda key: key.lower() not in ("null", "true", "false", "nan", "inf") and "${" not in key
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=6
)


def through(conf: Path, value: Any, more: Any = None) -> Any:
    """Sends values through params.yaml, Hydra's grammar and composition."""
    written = io.StringIO()
    YAML().dump({"stage": {"knob": value, "more": more}}, written)  # as `dvc exp run -S` does
    content = params.parse_yaml(written.getvalue())
    return OmegaConf.to_container(compose(saved_overrides(content, conf), conf), resolve=True)["stage"]  # type: ignore


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(value=VALUES, more=st.lists(VALUES, min_size=4, max_size=8))
@example(value="a\\\n", more=["\\'", [{"$gt": {"a.b": "it's", "c d": [None]}}]])
def test_every_value_survives_the_saved_command_line(conf: Path, value: Any, more: list[Any]) -> None:
    stage = through(conf, value, more)
    assert stage["knob"] == value
    assert type(stage["knob"]) is type(value)
    assert stage["other"] == value
    assert stage["more"] == more
    assert list(map(type, stage["more"])) == list(map(type, more))


def test_interpolations_work_as_in_conf_and_can_be_escaped(conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_TEST", "it's \\ here")
    assert through(conf, "${oc.env:SIGHTLINE_TEST}")["other"] == "it's \\ here"
    assert through(conf, "a ${stage.choice.width}'s b")["knob"] == "a 1's b"
    assert through(conf, "\\${no.interpolation}")["knob"] == "${no.interpolation}"
    assert through(conf, "$5, $ and {x}")["knob"] == "$5, $ and {x}"


def test_a_secret_named_in_params_is_not_written_down(conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_TEST", "hunter2")
    overrides = saved_overrides({"stage": {"knob": "${oc.env:SIGHTLINE_TEST}"}}, conf)
    assert "hunter2" not in OmegaConf.to_yaml(compose(overrides, conf))


def test_the_example_in_the_documentation() -> None:
    result = doctest.testmod(config)
    assert result.attempted >= 1
    assert result.failed == 0


def test_nan_survives(conf: Path) -> None:
    value = through(conf, float("nan"))["knob"]
    assert isinstance(value, float)
    assert value != value


def test_a_folder_of_conf_is_a_choice_everything_else_a_value(conf: Path) -> None:
    content = {"stage": {"choice": "two", "choice_options": {"length": 5}, "knob": 1}}
    assert saved_overrides(content, conf) == ["stage/choice=two", "++stage.choice.length=5", "stage.knob=1"]
    assert compose(saved_overrides(content, conf), conf).stage.choice == {"name": "two", "length": 5, "extra": {}}


def test_a_mapping_is_merged_new_keys_and_all(conf: Path) -> None:
    free = {"approved": True, "n": {"$gt": 3}}
    content = {"stage": {"choice": "two", "free": free, "choice_options": {"extra": {"a.b": None}}}}
    stage = compose(saved_overrides(content, conf), conf).stage
    assert stage.free == {"approved": True, "n": {"$gt": 3}}
    assert stage.choice == {"name": "two", "length": 2, "extra": {"a.b": None}}


@pytest.mark.parametrize("section", [None, {}])
def test_an_empty_section_keeps_every_default(conf: Path, section: Any) -> None:
    assert compose(saved_overrides({"stage": section}, conf), conf) == compose([], conf)


def test_command_line_beats_params_beats_conf(conf: Path) -> None:
    saved = saved_overrides({"stage": {"choice": "two", "knob": 2}}, conf)
    assert compose([], conf).stage.knob is None
    assert compose(saved, conf).stage.knob == 2
    composed = compose([*saved, "stage.knob=3", "stage/choice=one"], conf)
    assert composed.stage.knob == 3
    assert composed.stage.choice.name == "one"


def test_this_projects_params_select_and_set(project: Path) -> None:
    content = read_params()
    composed = compose(saved_overrides(content))
    check(composed)
    choices = {f"{stage}.{key}" for stage, knobs in content.items() for key in knobs if (CONF / stage / key).is_dir()}
    assert {"train.model", "preprocess.denoise", "ingest.source"} <= choices
    for stage, knobs in content.items():
        for key, value in knobs.items():
            found = composed[stage][key]
            assert (found.name if f"{stage}.{key}" in choices else found) == value


# --- one line that names the key and what is allowed ---------------------------------------------------------------


def complain(overrides: list[str]) -> str:
    """Returns the one line that a configuration is refused with, as `watch`, which checks all stages, would say it."""
    with pytest.raises(ConfigError) as caught:
        check(compose([*saved_overrides(read_params()), *overrides]))
    line = str(caught.value)
    assert "\n" not in line
    assert line.strip()
    assert not GlobalHydra.instance().is_initialized()
    return line


BAD = {
    "trian.lr=0.1": ["trian: unknown key", "did you mean 'train'?", "ingest", "preprocess"],
    "train.learning_rate=0.1": ["train.learning_rate: unknown key", "lr", "batch_size"],
    "train.max_epoch=3": ["train.max_epoch: unknown key", "did you mean 'max_epochs'?"],
    "train.model.widht=3": ["train.model.widht: unknown key", "did you mean 'width'?", "blocks"],
    "train.model.width.x=3": ["train.model.width"],
    "+train.lrr=0.1": ["train.lrr: unknown key", "did you mean 'lr'?"],
    "+train.model.wdth=1": ["train.model.wdth: unknown key", "did you mean 'width'?"],
    "train/modle=cnn": ["train.modle: unknown key", "did you mean 'model'?"],
    "train/model=resnet": ["train.model: no option 'resnet'", "did you mean 'resnet9'?", "cnn", "dense"],
    "train/model=null": ["train.model: no option", "cnn, convnext, dense"],
    "train.model=cnn": ["train.model: no option 'cnn'", "allowed: cnn, convnext, dense"],
    "train.model.name=dense2": ["train.model: no option 'dense2'", "allowed: cnn, convnext, dense"],
    "train.lr=fast": ["train.lr", "fast", "Float"],
    "train.batch_size=1.5": ["train.batch_size", "1.5", "Integer"],
    "train.batch_size=true": ["train.batch_size", "True", "Integer"],
    "train.lr=null": ["train.lr"],
    "train.lr=": ["train.lr"],
    "train.lr=nan": ["train.lr: must be positive and finite, not nan"],
    "train.lr=0": ["train.lr: must be positive and finite, not 0"],
    "train.model.hidden=[1,x]": ["train.model.hidden"],
    "train.model.dropout=1": ["train.model.dropout: must be in [0, 1)"],
    "train.monitor=val_f1": ["train.monitor: 'val_f1' is not one of val_loss, val_accuracy"],
    "train.trainer.accelerator=tpu": ["train.trainer.accelerator: 'tpu' is not one of auto, cpu, gpu, mps"],
    "train.optimizer.betas=[0.9]": ["train.optimizer.betas: must be two numbers"],
    "train.threads=???": ["train.threads: has no value", "params.yaml"],
    "train.lr=${train.nowhere}": ["train", "nowhere"],
    "train.lr=${oc.env:SIGHTLINE_SURELY_UNSET}": ["train", "SIGHTLINE_SURELY_UNSET"],
    "preprocess.val_fraction=0.9": ["preprocess.val_fraction: leaves nothing to train on"],
    "preprocess/clean=hsv": ["preprocess.clean.color: 'hsv' needs preprocess.channels=3"],
    "preprocess.channels=2": ["preprocess.channels: must be 1 or 3, not 2"],
    "evaluate.gallery=-1": ["evaluate.gallery: -1 is not between 0 and 200"],
    "export.opset=5": ["export.opset: must be 18 to 23, not 5"],
    "ingest.source.filter.a=1": ["ingest.source.filter: unknown key"],
    "~train.lr": ["'train.lr' not found"],
    "train.lr=[": ["train.lr=[: not of the form key=value"],
    "train.lr": ["train.lr: not of the form key=value"],
    "a b=1": ["a b=1: not of the form key=value"],
}


@pytest.mark.parametrize("override", BAD)
def test_a_bad_override_is_one_line_that_names_the_key_and_what_is_allowed(project: Path, override: str) -> None:
    line = complain([override])
    for part in BAD[override]:
        assert part in line


def test_the_allowed_keys_are_those_of_the_chosen_option(project: Path) -> None:
    line = complain(["train/model=resnet18", "train.model.dropout=0"])
    assert line == "train.model.dropout: unknown key; allowed: name, weights"
    line = complain(["train.model.weights=null", "train/model=resnet18", "train.model.weihgts=null"])
    assert line == "train.model.weihgts: unknown key; did you mean 'weights'? allowed: name, weights"


def test_new_keys_of_a_free_mapping_need_a_sign(project: Path) -> None:
    mongodb = ["ingest/source=mongodb", "ingest.url=mongodb://host/images"]
    for override in ("ingest.source.filter.approved=true", "ingest.source.filter={approved:true}"):
        assert complain([*mongodb, override]).endswith(f"to add a new key, write ++{override}")
        check(compose([*saved_overrides(read_params()), *mongodb, f"++{override}"]))


PARAMS = {
    "[1, 2]": ["params.yaml", "one section per stage"],
    "just text": ["params.yaml", "one section per stage"],
    "train: 5": ["train: must be a section"],
    "train: [lr]": ["train: must be a section"],
    "a: b: c": ["params.yaml is not YAML"],
    "a: \t- [": ["params.yaml is not YAML"],
    "trian: {lr: 1}": ["trian: unknown key", "did you mean 'train'?"],
    "trian: {model: {width: 1}}": ["trian: unknown key", "did you mean 'train'?"],
    "train: {modle: cnn}": ["train.modle: unknown key", "did you mean 'model'?"],
    "train: {optimizer_options: {lrr: 1}}": ["train.optimizer.lrr: unknown key", "did you mean 'lr'?"],
    "train: {optimizer: {lr: 1}}": ["train.optimizer: name an option; its settings go below train.optimizer_options"],
    "train: {optimizer.lr: 1}": ["train.optimizer.lr: write optimizer_options: {lr: ...} in params.yaml"],
    "export: {int8.enabled: false}": ["export.int8.enabled: write int8: {enabled: ...} in params.yaml"],
    "train: {optimizer_options: 1}": ["train.optimizer_options: must map settings", "conf/train/optimizer/"],
    "train: {model_options: {name: dense}}": ["train.model_options.name: an option is chosen by train.model"],
    "train: {lr_options: {a: 1}}": ["train.lr_options: unknown key"],
    "train: {optimiser: {lr: 1}}": ["train.optimiser: unknown key", "did you mean 'optimizer'?"],
    "train: {model: null}": ["train.model: no option", "cnn, convnext, dense"],
    "train: {model: [cnn, dense]}": ["train.model: no option", "cnn, convnext, dense"],
    "train: {lr: '0,1'}": ["train.lr", "0,1"],
    "train: {lr rate: 1}": ["train.lr rate=1"],
    "train: {lr: 2020-01-01}": ["train.lr", "2020-01-01"],
    "train: {lr: '${'}": ["train.lr"],
    "1: {2: 3}": ["1: unknown key"],
}


@pytest.mark.parametrize("content", PARAMS)
def test_bad_params_are_one_line_that_names_the_key(project: Path, content: str) -> None:
    (project / "params.yaml").write_text(content)
    line = complain([])
    for part in PARAMS[content]:
        assert part in line


def test_missing_and_unreadable_params(project: Path) -> None:
    (project / "params.yaml").write_bytes(b"train: {note: \xff\xfe}")
    assert complain([]).startswith("params.yaml is not YAML")
    (project / "params.yaml").write_text("")
    check(compose(saved_overrides(read_params())))
    (project / "params.yaml").unlink()
    assert complain([]) == "params.yaml is missing: run the command in the project's root folder"


def test_params_are_utf8_whatever_the_locale(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "params.yaml").write_bytes("ingest: {path: größe/数字}".encode())
    code = "from sightline.config.compose import read_params; print(ascii(read_params()['ingest']['path']))"
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ascii("größe/数字")


def test_outside_a_project(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.yaml is missing: run the command in the project's root folder"):
        compose([], tmp_path / "conf")


@pytest.mark.parametrize(
    ("word", "composed"),
    [
        ("train.model=cnn", "train/model=cnn"),
        ("train/model=cnn,dense", "train/model=cnn,dense"),
        ("train.lr=0.1", "train.lr=0.1"),
        ("train.model.width=8", "train.model.width=8"),
        ("train.model_options.width=8", "++train.model.width=8"),
        ("+train.model=cnn", "+train.model=cnn"),
        ("train.model", "train.model"),
        ("train=x", "train=x"),
        ("ingest.path=~/birds", "ingest.path='~/birds'"),
    ],
)
def test_a_word_is_written_as_hydra_wants_it(project: Path, word: str, composed: str) -> None:
    assert selecting(word) == composed


def test_every_section_becomes_its_dataclass(project: Path) -> None:
    composed = compose([])
    assert sorted(map(str, composed)) == sorted(schemas())
    for stage, schema in schemas().items():
        section = typed(schema, composed[stage], stage)
        assert isinstance(section, schema)
    train = typed(TrainConfig, compose(["train.lr=0.5"])["train"], "train")
    assert train.optimizer.lr == 0.5  # type: ignore[attr-defined]


def test_a_section_needs_no_list(project: Path) -> None:
    assert schema_of("train") is TrainConfig
    with pytest.raises(
        ConfigError, match=r"^trian: no such section; the section of a stage is in src/sightline/stages/trian/config"
    ):
        schema_of("trian")
    with pytest.raises(ConfigError, match="trian: no such section"):
        check(compose(["+trian.lr=1"]))
