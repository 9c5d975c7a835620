"""params.yaml's numbers are numbers and its texts are texts, as DVC sees them, however either is written."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from sightline.config import params
from sightline.config.compose import compose, read_params, saved_overrides, typed
from sightline.config.schema import Option, choice
from sightline.core.errors import ConfigError
from sightline.datasets.data_settings import flat_params
from sightline.stages.ingest.config import IngestConfig
from sightline.stages.train.config import TrainConfig

ROOT = Path(__file__).parents[2]
PLAIN = """
no yes 007 on off y n No true True FALSE 1e3 1E-3 3e-05 1_000 0x10 0o17 0b11 1:30 12:30:45 2024-01-01 1.10 .5 5. +5 -0
08 1.5e+300 .inf .nan nan inf NaN 1e e3 0x -- a_b größe C:\\x it's 2.5 7 0 00
""".split()  # noqa: SIM905 - a list would be a page


@dataclass
class TextOption(Option):
    """An option with texts."""

    columns: dict[str, str]
    names: list[str]


@dataclass
class Section:
    """A section with a knob of each type."""

    text: str | None
    number: float
    whole: int
    flag: bool
    texts: list[str]
    rates: list[float]
    free: dict[str, Any]
    option: Option = choice({"one": TextOption})


@pytest.fixture(scope="module")
def conf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A conf/ of one stage with a knob of each type."""
    root = tmp_path_factory.mktemp("project") / "conf"
    (root / "stage" / "option").mkdir(parents=True)
    (root / "config.yaml").write_text("defaults: [{stage: default}, _self_]\n")
    (root / "stage" / "default.yaml").write_text(
        "defaults: [{option: one}, _self_]\n"
        "text: null\nnumber: 0.5\nwhole: 1\nflag: false\ntexts: []\nrates: []\nfree: {}\n"
    )
    (root / "stage" / "option" / "one.yaml").write_text("name: one\ncolumns: {}\nnames: ${stage.texts}\n")
    return root


def section(conf: Path, yaml: str, *command: str) -> tuple[Section, dict[str, str]]:
    """Returns what a stage gets of `params.yaml`, and what MLflow is told."""
    content = params.parse_yaml(f"stage:\n{yaml}")
    composed = compose([*saved_overrides(content, conf), *command], conf)
    made = typed(Section, composed.stage, "stage")
    return made, flat_params(composed)


FLOATS = st.floats(allow_nan=False, allow_infinity=False).map(lambda value: value + 0.0)  # `-0` is a whole number


def spellings(value: float) -> list[str]:
    """Returns ways to write a number in YAML 1.1 and 1.2."""
    usual = repr(value)
    found = [usual, f"{value:e}", f"{value:E}", f"{value:.17g}", f"{value:.17e}".replace("e+", "e")]
    if not usual.startswith("-"):
        found += [f"+{usual}"]
    if usual.startswith("0.") and "e" not in usual:
        found += [usual[1:]]
    if usual.endswith(".0"):
        found += [usual[:-1]]
    return found


@settings(deadline=None, max_examples=20)
@given(values=st.lists(FLOATS, min_size=4, max_size=4))
@example(values=[1e-3, 3e-05, 1e22, 5e-324, 0.00003, 1.7976931348623157e308])
def test_numbers_are_numbers_however_they_are_written(conf: Path, values: list[float]) -> None:
    written = [text for value in values for text in spellings(value)]
    wanted = [float(text) for text in written]
    made, logged = section(conf, f"  rates: [{', '.join(written)}]\n  number: {written[0]}\n")
    assert made.rates == wanted
    assert all(type(value) is float for value in [*made.rates, made.number])
    assert made.number == wanted[0]
    assert logged["stage.number"] == str(wanted[0])
    assert logged["stage.rates"] == str(wanted)


@pytest.mark.parametrize("written", ["1e-3", "1E-3", "0.001", "1.0e-3", ".001", "1e-03", "'1e-3'", '"0.001"'])
def test_a_learning_rate_in_every_spelling(project: Path, written: str) -> None:
    text = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(re.sub(r"(?m)^  lr: \S+", f"  lr: {written}", text))
    composed = compose(saved_overrides(read_params()))
    train = typed(TrainConfig, composed.train, "train")
    assert train.lr == train.optimizer.lr == 0.001  # type: ignore[attr-defined]
    assert float(flat_params(composed)["train.lr"]) == 0.001


@settings(deadline=None, max_examples=25)
@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="$"))))
def test_texts_are_texts_quoted(conf: Path, texts: list[str]) -> None:
    quoted = ["'" + text.replace("'", "''") + "'" for text in texts]
    made, _ = section(conf, f"  texts: [{', '.join(quoted)}]\n")
    assert made.texts == texts


@pytest.mark.parametrize("start", range(0, len(PLAIN), 15))
def test_texts_are_texts_without_quotes(conf: Path, start: int) -> None:
    words = PLAIN[start : start + 15]
    lines = "".join(f"    - {word}\n" for word in words)
    columns = "".join(f"        key{i}: {word}\n" for i, word in enumerate(words))
    yaml = f"  texts:\n{lines}  text: {words[2]}\n  option_options:\n    columns:\n{columns}"
    made, logged = section(conf, yaml)
    assert made.texts == words
    assert made.text == words[2]
    assert isinstance(made.option, TextOption)
    assert made.option.names == words  # by interpolation
    assert list(made.option.columns.values()) == words
    assert logged["stage.texts"] == logged["stage.option.names"] == str(words)
    assert logged["stage.text"] == words[2]
    assert logged["stage.option.columns.key0"] == words[0]


def test_class_names_of_idx_files_are_kept(project: Path) -> None:
    (project / "params.yaml").write_text(
        "ingest:\n  source: idx\n  path: 007\n  source_options: {class_names: [no, yes, 007]}\n"
    )
    composed = compose(saved_overrides(read_params()))
    ingest = typed(IngestConfig, composed.ingest, "ingest")
    assert ingest.source.class_names == ["no", "yes", "007"]  # type: ignore[attr-defined]
    assert ingest.path == ingest.source.path == "007"  # type: ignore[attr-defined]
    logged = flat_params(composed)
    assert logged["ingest.source.class_names"] == "['no', 'yes', '007']"
    assert logged["ingest.source.path"] == "007"


def test_what_may_be_anything_is_what_yaml_says(conf: Path) -> None:
    made, _ = section(conf, "  free: {a: 1e3, b: [true, no, 0x10, 007, null], c: {d: .5}, e: '1'}\n  flag: true\n")
    assert made.free == {"a": 1000.0, "b": [True, "no", 16, 7, None], "c": {"d": 0.5}, "e": "1"}
    assert [type(value) for value in made.free["b"]] == [bool, str, int, int, type(None)]
    assert made.flag is True


@pytest.mark.parametrize(("word", "value"), [("true", "True"), ("FALSE", "False")])
def test_text_that_came_as_something_else_is_refused(conf: Path, word: str, value: str) -> None:
    with pytest.raises(ConfigError, match=rf"^stage\.text: {value} is not text; put quotes around"):
        section(conf, "  whole: 2\n", f"stage.text={word}")
    assert section(conf, "  whole: 2\n", f"stage.text='{word}'")[0].text == word
    assert section(conf, "  whole: 2\n", "stage.text=7")[0].text == "7"


WORDS = st.from_regex(r"[-+0-9._eExob]{1,7}", fullmatch=True) | st.sampled_from(PLAIN)


@settings(deadline=None, max_examples=300)
@given(word=WORDS)
def test_dvc_reads_the_same(word: str) -> None:
    def reading(read: Any) -> Any:
        try:
            return read(f"a: {word}")["a"]
        except Exception as error:
            return type(error).__name__

    ours, dvcs = reading(params.parse_yaml), reading(YAML(typ="safe").load)
    if not hasattr(dvcs, "isoformat"):  # a date, which no knob is
        assert ours == dvcs or math.isnan(ours)


def test_a_mapping_may_take_in_another() -> None:
    text = """
usual: &usual {lr: 0.1, seed: 1, optimizer_options: &options {beta: 2}}
other: &other {<<: *usual, seed: 2}
train: {<<: [*other, *usual], lr: 0.3, more: *other, optimizer_options: {<<: *options, beta: 3}}
"""
    read = params.parse_yaml(text)
    assert read["train"]["more"] == read["other"] == {"lr": 0.1, "seed": 2, "optimizer_options": {"beta": 2}}
    assert read["train"] == {"lr": 0.3, "seed": 2, "more": read["other"], "optimizer_options": {"beta": 3}}
    assert read == YAML(typ="safe").load(text)  # as DVC
    with pytest.raises(YAMLError, match="the key 'lr' appears twice"):
        params.parse_yaml("{usual: &usual {lr: 0.1}, train: {<<: *usual, lr: 1, lr: 2}}")


def test_a_number_is_a_number_again_after_its_text_was_asked_for() -> None:
    config = OmegaConf.create({"names": [params.interpolation(params.parse_yaml("007"))]})
    assert params.texts(config) == {"names": ["007"]}
    assert OmegaConf.to_container(config, resolve=True) == {"names": [7]}


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"params\.yaml is missing: run the command in the project's root folder"):
        params.read(tmp_path / "params.yaml")


def test_conf_reads_the_same_in_both_versions_of_yaml() -> None:
    for path in sorted((ROOT / "conf").rglob("*.yaml")):
        text = path.read_text()
        assert OmegaConf.to_container(OmegaConf.create(text)) == params.parse_yaml(text), path


@pytest.mark.parametrize(
    "content",
    ["a: 1\na: 2\n", "a: &x [*x]\n", "? [1]\n: 2\n", "a: !!python/object/apply:os.x [ls]", "a: !!set {b}"],
)
def test_what_cannot_be_read_is_one_line(project: Path, content: str) -> None:
    (project / "params.yaml").write_text(content)
    with pytest.raises(ConfigError) as caught:
        read_params()
    assert str(caught.value).startswith("params.yaml is not YAML: ")
    assert "\n" not in str(caught.value)
