"""The options' files and classes say the same."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from sightline.config.schema import Option
from sightline.imaging.transform import steps

ROOT = Path(__file__).parents[3]
CONF = ROOT / "conf" / "preprocess"
ALL = [(step, name) for step, choices in steps.STEPS.items() for name in choices]


@pytest.mark.parametrize("step", steps.STEPS)
def test_a_file_for_each_option_and_no_other(step: str) -> None:
    assert {path.stem for path in (CONF / step).glob("*.yaml")} == set(steps.STEPS[step])


@pytest.mark.parametrize(("step", "name"), ALL)
def test_file_and_class_have_the_same_keys_and_valid_values(step: str, name: str) -> None:
    text = (CONF / step / f"{name}.yaml").read_text()
    content = yaml.safe_load(text)
    schema = steps.STEPS[step][name]
    assert list(content) == ["name", *(key for key in content if key != "name")]
    assert set(content) == {field.name for field in dataclasses.fields(schema)}
    assert all(field.default is dataclasses.MISSING for field in dataclasses.fields(schema))
    assert content["name"] == name
    assert dataclasses.asdict(steps.parse_option(step, content)) == content
    # As the configuration does it.
    composed = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), content))
    assert composed == steps.parse_option(step, content)


@pytest.mark.parametrize(("step", "name"), ALL)
def test_every_option_says_what_it_is_good_for_and_every_value_its_range(step: str, name: str) -> None:
    first, second, *values = (CONF / step / f"{name}.yaml").read_text().splitlines()
    assert first.startswith("# ")
    assert second == f"name: {name}"
    assert all("  # " in line for line in values)
    schema = steps.STEPS[step][name]
    inherited = " ".join(base.__doc__ or "" for base in schema.__mro__ if issubclass(base, Option))
    for field in dataclasses.fields(schema)[1:]:
        assert re.search(rf"^\s+{field.name}: ", inherited, re.MULTILINE), f"{field.name} is not documented"


def test_every_option_stands_in_the_guide() -> None:
    guide = (ROOT / "docs" / "preprocessing.md").read_text()
    for step, name in ALL:
        assert f"`{name}`" in guide, f"{step}: {name}"


BAD = [
    ("denoise", "median", "kernel_size", 4, "denoise.kernel_size: 4 is not odd"),
    ("denoise", "median", "kernel_size", 1, "denoise.kernel_size: 1 is not in 3..31"),
    ("denoise", "median", "kernel_size", 3.0, "denoise.kernel_size: 3.0 is not of type int"),
    ("denoise", "median", "kernel_size", True, "denoise.kernel_size: True is not of type int"),
    ("denoise", "gaussian", "sigma", float("nan"), "denoise.sigma: nan is not in"),
    ("denoise", "wavelet", "wavelet", "db99", "denoise.wavelet: 'db99' is not one of haar"),
    ("enhance", "gamma", "gamma", 0, "enhance.gamma: 0.0 is not in 0.1..10"),
    ("segment", "kmeans", "use", "blur", "segment.use: 'blur' is not one of mask, crop, channel"),
    ("segment", "watershed", "margin", -0.1, "segment.margin: -0.1 is not in 0..1"),
    ("clean", "standard", "max_side", 3, "clean.max_side: 3 is not in 16..16384"),
    ("clean", "standard", "color", "cmyk", "clean.color: 'cmyk' is not one of keep"),
]


@pytest.mark.parametrize(("step", "name", "key", "value", "message"), BAD)
def test_a_bad_value_is_named(step: str, name: str, key: str, value: object, message: str) -> None:
    content = yaml.safe_load((CONF / step / f"{name}.yaml").read_text())
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        steps.parse_option(step, content | {key: value})


def test_unknown_options_and_keys_are_named() -> None:
    with pytest.raises(ValueError, match=r"^resize: no option 'fill'; allowed: crop, pad, stretch"):
        steps.parse_option("resize", {"name": "fill"})
    with pytest.raises(ValueError, match=r"^resize: 'pad' has the keys name, not name, color"):
        steps.parse_option("resize", {"name": "pad", "color": 0})


def test_options_import_nothing_heavy() -> None:
    script = (
        "import sys; from sightline.imaging.transform.steps import STEPS; assert all(map(len, STEPS.values()));"
        "print([m for m in ('numpy', 'cv2', 'PIL', 'hydra', 'omegaconf', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
