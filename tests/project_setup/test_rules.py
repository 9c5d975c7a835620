"""The rules: total functions of what is seen, whose table stands in the documentation."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.config.compose import compose, saved_overrides
from sightline.config.params import parse_yaml
from sightline.config.sections import check
from sightline.project_setup import params_file
from sightline.project_setup.census import SERIES_PATTERN
from sightline.project_setup.choice import Choice
from sightline.project_setup.machine import Machine
from sightline.project_setup.rules import RULES, choose_settings, rules_table
from sightline.project_setup.set_fingerprint import Fingerprint
from sightline.project_setup.transfer import ProbeTrial
from tests.conftest import ROOT

MACHINE = Machine(2, 8, None)
PHOTOS = Fingerprint(
    images=150, complete=True, classes={"finch": 50, "owl": 50, "wren": 50}, splits={}, groups=0, prefixes=0,
    text_like=False, seen=150, rejected=0, first_rejected=None, side=480, largest=640, aspect=1.33, shapes=0.02,
    grey=False, bits=None, dark=0.0, blurred=0.0, noise=2.0, background=120, plain=0.1, near_duplicates=0,
    mirrored=0.95, trial=None,
)  # fmt: skip
DIGITS: dict[str, Any] = {
    "images": 1800, "classes": {str(number): 180 for number in range(10)}, "text_like": True, "side": 8, "largest": 8,
    "grey": True, "noise": None, "mirrored": 0.4,
}  # fmt: skip
ODD: dict[str, Any] = {
    "shapes": 0.5, "noise": 25.0, "dark": 0.9, "bits": 12, "prefixes": 30, "trial": ProbeTrial(0.9, 0.8),
}  # fmt: skip
SHARES = st.floats(0, 1)


def values(**changes: Any) -> dict[str, Any]:
    seen = dataclasses.replace(PHOTOS, **changes)
    return {key: choice.value for key, choice in choose_settings(seen, MACHINE).items()}


@st.composite
def fingerprints(draw: st.DrawFn) -> Fingerprint:
    classes = draw(st.dictionaries(st.text(min_size=1, max_size=8), st.integers(1, 100_000), min_size=2, max_size=12))
    side = draw(st.integers(1, 5000))
    return Fingerprint(
        images=sum(classes.values()),
        complete=draw(st.booleans()),
        classes=classes,
        splits=draw(st.dictionaries(st.sampled_from(["train", "val", "test"]), st.integers(1, 100_000))),
        groups=draw(st.integers(0, 50)),
        prefixes=draw(st.integers(0, 50)),
        text_like=draw(st.booleans()),
        seen=draw(st.integers(1, 2000)),
        rejected=draw(st.integers(0, 100)),
        first_rejected=draw(st.none() | st.text(max_size=8)),
        side=side,
        largest=side * draw(st.integers(1, 4)),
        aspect=draw(st.floats(0.1, 10)),
        shapes=draw(SHARES),
        grey=draw(st.booleans()),
        bits=draw(st.none() | st.integers(9, 14)),
        dark=draw(SHARES),
        blurred=draw(SHARES),
        noise=draw(st.none() | st.floats(0, 80)),
        background=draw(st.integers(0, 255)),
        plain=draw(SHARES),
        near_duplicates=draw(st.integers(0, 100)),
        mirrored=draw(st.none() | st.floats(0, 1.2)),
        trial=draw(st.none() | st.builds(ProbeTrial, SHARES, SHARES)),
    )


@settings(deadline=None)
@given(fingerprints())
def test_whatever_is_seen_the_file_holds_the_settings_with_their_reasons(seen: Fingerprint) -> None:
    chosen = choose_settings(seen, MACHINE)
    content = parse_yaml(params_file.params_text(chosen))
    for key, choice in chosen.items():
        section, name = key.split(".")
        assert content[section].get(name, {}) == choice.value, key
        assert choice.reason, key
        assert "\n" not in choice.reason, key


@pytest.mark.parametrize("changes", [{}, DIGITS, ODD])
def test_the_settings_are_valid(changes: dict[str, Any]) -> None:
    content = parse_yaml(params_file.params_text(choose_settings(dataclasses.replace(PHOTOS, **changes), MACHINE)))
    check(compose([*saved_overrides(content), "ingest/source=folder", "ingest.path=birds"]))


def test_photographs_are_not_made_grey_small_or_black_and_white() -> None:
    found = values()
    assert (found["preprocess.size"], found["preprocess.channels"], found["preprocess.resize"]) == (64, 3, "stretch")
    assert {found[f"preprocess.{step}"] for step in ("clean", "denoise", "enhance", "segment")} == {"none"}
    assert found["train.augment"] == "standard"


def test_what_is_tiny_grey_and_chiral_is_taken_as_it_is_and_never_mirrored() -> None:
    found = values(**DIGITS)
    assert (found["preprocess.size"], found["preprocess.channels"], found["train.augment"]) == (16, 1, "digits")
    clothes = values(**{**DIGITS, "images": 70_000, "side": 28, "mirrored": 0.8})
    assert (clothes["preprocess.size"], clothes["train.augment"]) == (28, "standard")
    assert values(text_like=True, classes={"turn left": 9, "stop": 9}, mirrored=0.9)["train.augment"] == "digits"


def test_each_answer_follows_from_what_was_seen() -> None:
    assert values(shapes=0.5)["preprocess.resize"] == "pad"
    assert values(aspect=3.0)["preprocess.resize"] == "pad"
    assert values(noise=25.0)["preprocess.denoise"] == "auto"
    assert values(dark=0.9)["preprocess.enhance"] == "autocontrast"
    assert values(bits=12)["preprocess.sample_bits"] == 12
    assert values(classes={"finch": 900, "owl": 30})["train.class_weights"] == "effective"
    assert values(prefixes=30)["ingest.group_from"] == {"pattern": SERIES_PATTERN}
    assert values(prefixes=30, groups=5)["ingest.group_from"] == {}
    assert values(trial=ProbeTrial(0.93, 0.9))["train.model"] == "cnn"
    tuned = values(trial=ProbeTrial(0.9, 0.8))
    assert (tuned["train.model"], tuned["train.model_options"]) == ("efficientnet_lite0", {"weights": "package"})
    assert tuned["train.recipe"] == "probe"
    assert values(trial=ProbeTrial(0.9, 0.8), images=2000)["train.recipe"] == "finetune"
    assert tuned["baseline.methods"] == ["majority", "hog_svm", "pretrained_logreg"]
    assert values(mirrored=None)["train.augment"] == "standard"
    assert "cross-validation" in choose_settings(PHOTOS, MACHINE)["preprocess.test_fraction"].reason
    few, many = values(images=60), values(images=6000)
    assert few["train.max_epochs"] > many["train.max_epochs"]


def test_every_rule_says_what_it_does() -> None:
    assert all(rule.__doc__ for rule in RULES.values())


def test_the_documentation_has_the_rules() -> None:
    assert rules_table() in (ROOT / "docs/how-it-chooses.md").read_text()


def test_what_is_given_by_hand_is_written_as_it_was_given() -> None:
    chosen = choose_settings(PHOTOS, MACHINE) | {
        "evaluate.explain": Choice(parse_yaml("false"), ""),
        "train.lr": Choice(parse_yaml("1e-3"), ""),
    }
    text = params_file.params_text(chosen)
    assert "  explain: false " in text
    assert "  lr: 1e-3 " in text


def test_rules_go_by_what_is_given_and_settings_of_options_stand_beside_those_found() -> None:
    def chosen(**given: Any) -> dict[str, Any]:
        by_hand = {f"train.{key}": Choice(value, "given by hand") for key, value in given.items()}
        return {key: choice.value for key, choice in choose_settings(PHOTOS, MACHINE, by_hand).items()}

    tuned = chosen(model="efficientnet_lite0", model_options={"drop_rate": 0.1})
    assert tuned["preprocess.size"] == 128
    assert tuned["train.model_options"] == {"weights": "package", "drop_rate": 0.1}
    assert chosen(model="resnet18")["train.model_options"] == {}
    assert chosen(max_epochs=7)["train.patience"] == 7
    assert chosen(batch_size="many")["train.batch_size"] == "many", "to be refused with the whole configuration"
    assert chosen(batch_size=0)["train.max_epochs"] == values()["train.max_epochs"]
    assert chosen(seed=3)["train.seed"] == 3


def test_images_that_the_source_tests_on_are_not_counted_for_training() -> None:
    few = values(splits={"test": 100, "train": 50})
    assert few["train.max_epochs"] == values(images=65)["train.max_epochs"]  # of 50, 15 % validate
    assert few["train.batch_size"] == 16


def test_only_pictures_that_are_enlarged_have_the_short_training_of_the_digits() -> None:
    assert (values(**DIGITS)["train.schedule"], values(**DIGITS)["train.max_epochs"]) == ("cosine", 20)
    clothes = values(**{**DIGITS, "images": 1500, "splits": {"test": 1000}, "side": 28, "largest": 28})
    assert (clothes["train.schedule"], clothes["train.lr"], clothes["train.max_epochs"]) == ("one_cycle", 0.005, 89)
