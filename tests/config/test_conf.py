"""Every file of conf/ is what its schema and its registry say, and nothing else is there."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml

from sightline.config.compose import compose, read_params, typed
from sightline.config.sections import schemas
from sightline.stages.ingest.config import IngestConfig
from tests.pipeline.project import STAGES

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"
SECTIONS = schemas(CONF)
CHOICES = {
    f"{stage}/{field.name}": field.metadata["options"]
    for stage, schema in SECTIONS.items()
    for field in dataclasses.fields(schema)
    if "options" in field.metadata
}
OPTIONS = [
    pytest.param(choice, name, id=f"{choice}/{name}") for choice, options in CHOICES.items() for name in sorted(options)
]


def read(path: Path) -> dict[str, Any]:
    content = yaml.safe_load(path.read_text())
    assert isinstance(content, dict)
    return content


def test_the_choices_are_the_folders_of_conf() -> None:
    folders = {f"{p.parent.name}/{p.name}" for p in CONF.glob("*/*/")}
    assert folders == set(CHOICES)
    assert {p.name for p in CONF.iterdir()} == {"config.yaml", *SECTIONS}


def test_nothing_else_lies_in_conf() -> None:
    expected = {CONF / "config.yaml"}
    expected |= {CONF / stage / "default.yaml" for stage in SECTIONS}
    expected |= {CONF / choice / f"{name}.yaml" for choice, options in CHOICES.items() for name in options}
    assert {p for p in CONF.rglob("*") if p.is_file()} == expected


@pytest.mark.parametrize("choice", CHOICES)
def test_each_choices_registry_is_its_folder(choice: str) -> None:
    assert {p.stem for p in (CONF / choice).glob("*.yaml")} == set(CHOICES[choice])


@pytest.mark.parametrize(("choice", "name"), OPTIONS)
def test_each_option_says_its_name_a_comment_and_exactly_its_fields(choice: str, name: str) -> None:
    path = CONF / choice / f"{name}.yaml"
    content = read(path)
    assert set(content) == {field.name for field in dataclasses.fields(CHOICES[choice][name])}
    assert next(iter(content.items())) == ("name", name)
    assert path.read_text().startswith("# ")


@pytest.mark.parametrize("number", range(max(map(len, CHOICES.values()))))
def test_each_option_composes_and_validates(number: int) -> None:
    """The options of that number of all choices at once: a composition takes longer than its checks."""
    chosen = {choice: sorted(options)[number % len(options)] for choice, options in CHOICES.items()}
    if chosen["train/recipe"] in ("finetune", "probe"):  # which need weights to begin with
        chosen["train/model"] = "efficientnet_lite0"
    # A source that reads a path cannot be checked without one.
    fields = {field.name for field in dataclasses.fields(CHOICES["ingest/source"][chosen["ingest/source"]])}
    places = ["ingest.path=somewhere"] if "path" in fields else []
    composed = compose([*(f"{choice}={name}" for choice, name in chosen.items()), *places], CONF)
    for stage, schema in SECTIONS.items():
        section = typed(schema, composed[stage], stage)
        for choice, name in chosen.items():
            if choice.startswith(f"{stage}/"):
                option = getattr(section, choice.removeprefix(f"{stage}/"))
                assert type(option) is CHOICES[choice][name]
                assert option.name == name


@pytest.mark.parametrize("stage", SECTIONS)
def test_each_sections_defaults_are_exactly_its_fields(stage: str) -> None:
    content = read(CONF / stage / "default.yaml")
    defaults = content.pop("defaults", ["_self_"])
    chosen = [next(iter(entry)) for entry in defaults if isinstance(entry, dict)]
    assert defaults[-1] == "_self_"  # the section's own values win over what an option may bring
    fields = [field.name for field in dataclasses.fields(SECTIONS[stage])]
    assert sorted([*chosen, *content]) == sorted(fields)
    assert [f"{stage}/{name}" for name in chosen] == [choice for choice in CHOICES if choice.startswith(f"{stage}/")]


def test_the_root_has_one_section_a_stage_in_order() -> None:
    defaults = read(CONF / "config.yaml")["defaults"]
    sections = [key for entry in defaults if isinstance(entry, dict) for key in entry if "hydra" not in key]
    assert sections == [*(stage for stage in STAGES if stage not in ("watch", "headline")), "promote", "sweep"]
    assert sorted(sections) == sorted(SECTIONS)


def test_every_key_of_params_exists_in_conf() -> None:
    params = read_params(ROOT / "params.yaml")
    assert sorted(params) == sorted(set(SECTIONS) - {"sweep"})  # whose settings are of a command, not of a result
    for stage, knobs in params.items():
        assert set(knobs) <= {field.name for field in dataclasses.fields(SECTIONS[stage])}
        for key, value in knobs.items():
            if f"{stage}/{key}" in CHOICES:
                assert value in CHOICES[f"{stage}/{key}"]


def test_params_are_short_and_each_is_explained() -> None:
    lines = (ROOT / "params.yaml").read_text().splitlines()
    knobs = [line for line in lines if line.startswith("  ")]
    assert len(knobs) <= 35
    assert all("# " in line for line in knobs)


def test_the_schemas_themselves_hold_no_default() -> None:
    """A value has one place: conf/. A default in a dataclass would be a second one, which nobody sees."""
    every = [*SECTIONS.values(), *(option for options in CHOICES.values() for option in options.values())]
    for schema in every:
        for field in dataclasses.fields(schema):
            assert field.default is dataclasses.MISSING, f"{schema.__name__}.{field.name}"
            assert field.default_factory is dataclasses.MISSING, f"{schema.__name__}.{field.name}"


def test_formats_stand_in_one_list() -> None:
    from sightline.stages.ingest.config import FORMATS

    assert sorted(typed(IngestConfig, compose([], CONF)["ingest"], "ingest").formats) == sorted(FORMATS)
