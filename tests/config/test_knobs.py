"""Every key of every section and of every option: set in params.yaml, by `dvc exp run -S`, and on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.utils.hydra import apply_overrides
from omegaconf import DictConfig, OmegaConf

from sightline.config import option_settings
from sightline.config.compose import ConfigError, compose, read_params, saved_overrides, selecting
from sightline.config.removals import without
from sightline.config.sections import check
from sightline.datasets.data_settings import flat_params
from sightline.stages.watch.stage_digests import settings_digests
from tests.config.knobs import CHOICES, CONF, ROOT, Knob, knobs, merge, together

KNOBS = knobs()
GROUPS = together(KNOBS)


def value_of(config: DictConfig, knob: Knob) -> Any:
    found = OmegaConf.to_container(config, resolve=True)
    for part in knob.composed.split("."):
        found = found[part]  # type: ignore[index, call-overload]
    return found["name"] if knob.composed in CHOICES else found  # type: ignore[index, call-overload]


def holds(found: Any, other: Any) -> bool:
    return found.items() >= other.items() if isinstance(other, dict) else found == other and type(found) is type(other)


def words(params: dict[str, Any], sign: str, written_to: dict[str, Any] | None = None) -> list[str]:
    """Writes params as overrides: choices as they are, or where they are not yet in the file that is written to, with
    the sign that all else has.
    """
    found = []
    for stage, section in params.items():
        for key, value in section.items():
            if key.endswith("_options"):
                found += [f"{sign}{stage}.{key}.{name}={text(given)}" for name, given in value.items()]
            else:
                known = f"{stage}.{key}" in CHOICES and (written_to is None or key in written_to.get(stage, {}))
                found.append(f"{'' if known else sign}{stage}.{key}={text(value)}")
    return found


def text(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{text(inner)}" for key, inner in value.items()) + "}"
    return json.dumps(value)


def together_in(group: list[Knob]) -> dict[str, Any]:
    params: dict[str, Any] = {}
    for knob in group:
        merge(params.setdefault(knob.stage, {}), knob.section())
    return params


def test_every_key_of_conf_is_a_knob_here_once() -> None:
    names = [str(knob) for knob in KNOBS]
    assert len({f"{name} {knob.other}" for name, knob in zip(names, KNOBS, strict=True)}) == len(names)
    for path in CONF.glob("*/*/*.yaml"):
        stage, key, option = *path.parts[-3:-1], path.stem
        own = set(yaml.safe_load(path.read_text())) - {"name"}
        there = {knob.setting for knob in KNOBS if (knob.stage, knob.key, knob.option) == (stage, key, option)}
        assert there == own - ({"copies"} if (key, option) == ("augment", "none") else set())
    for path in CONF.glob("*/default.yaml"):
        keys = set(yaml.safe_load(path.read_text())) - {"defaults"}
        assert keys <= {knob.key for knob in KNOBS if knob.stage == path.parent.name and not knob.setting}


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: f"{group[0]} and {len(group) - 1} more")
def test_a_knob_says_the_same_in_params_by_set_param_and_on_the_command_line(project: Path, group: list[Knob]) -> None:
    params = together_in(group)
    own = read_params()
    merge(own, params)
    Path("params.yaml").write_text(yaml.safe_dump(own))
    by_file = compose(saved_overrides(read_params()))
    check(by_file)
    for knob in group:
        assert holds(value_of(by_file, knob), knob.other), knob

    (project / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    by_words = compose([*saved_overrides(read_params()), *map(selecting, words(params, "++"))])
    apply_overrides("params.yaml", words(params, "++", read_params()))  # what `dvc exp run -S` does
    by_dvc = compose(saved_overrides(read_params()))
    assert by_file == by_dvc
    assert by_file == by_words

    logged = flat_params(by_file)
    for knob in group:
        if not isinstance(knob.other, dict):
            assert logged[f"{knob.composed}{'.name' if knob.composed in CHOICES else ''}"] == str(knob.other)

    before = settings_digests(by_file)
    for knob in sorted(group, key=lambda knob: knob.composed.count("."), reverse=True):
        OmegaConf.update(by_file, knob.composed, f"neither {knob.other}", merge=False)
        after = settings_digests(by_file)
        assert [section for section in after if after[section] != before[section]] == [knob.stage], knob
        before = after


def test_the_digest_of_settings_covers_sections_that_are_read_and_not_the_environment(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "params.yaml").write_text("evaluate: {seed: '${train.seed}'}\npreprocess: {size: 32}")

    def changed(before: dict[str, str]) -> list[str]:
        after = settings_digests(compose(saved_overrides(read_params())))
        return [section for section in after if after[section] != before[section]]

    before = settings_digests(compose(saved_overrides(read_params())))
    monkeypatch.setenv("SIGHTLINE_NUM_WORKERS", "3")
    assert changed(before) == []
    for name, old, new in (("train/model/resnet18", "null", "DEFAULT"), ("train/default", "# passes", "# runs")):
        path = project / f"conf/{name}.yaml"
        path.write_text(path.read_text().replace(old, new, 1))
    assert changed(before) == []  # an option that is not selected, and a comment
    (project / "params.yaml").write_text("evaluate: {seed: '${train.seed}'}\npreprocess: {size: 33}")
    assert changed(before) == ["preprocess"]  # by a key that DVC's run cache overlooks (treeverse/dvc#10296)
    default = project / "conf/train/default.yaml"
    default.write_text(default.read_text().replace("\nseed: 0", "\nseed: 1"))
    assert changed(before) == ["preprocess", "train", "evaluate"]


STRAY = {
    "preprocess: {denoise: none, denoise_options: {sigma: 1.0}}": (
        "preprocess.denoise.sigma: not a setting of 'none' but of gaussian: choose one of these, "
        "or remove it (~preprocess.denoise_options.sigma)"
    ),
    "train: {model: cnn, model_options: {widht: 1}}": "train.model.widht: unknown key; did you mean 'width'?",
}


@pytest.mark.parametrize("content", STRAY)
def test_a_setting_of_another_option_is_refused_with_the_remedy(project: Path, content: str) -> None:
    (project / "params.yaml").write_text(content)
    with pytest.raises(ConfigError) as caught:
        check(compose(saved_overrides(read_params())))
    assert str(caught.value).startswith(STRAY[content])


def test_a_setting_that_became_a_stray_is_taken_out_as_its_line_says(project: Path) -> None:
    (project / "params.yaml").write_text("train: {model: cnn, model_options: {blocks: 1}}")
    saved = saved_overrides(read_params())
    words = ["train.model=resnet18", "~train.model_options.blocks"]
    with pytest.raises(ConfigError, match=r"\(~train.model_options.blocks\)"):
        check(compose([*saved, selecting(words[0])]))
    check(compose([*saved_overrides(without(read_params(), words[1:], Path("conf"))), selecting(words[0])]))
    apply_overrides("params.yaml", words)
    assert compose(saved_overrides(read_params())).train.model.name == "resnet18"


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("++train.model.width=8", "++train.model_options.width=8"),
        ("train.model.width=8", "++train.model_options.width=8"),
        ("~train.model.width", "~train.model.width"),
        ("train.lr=0.1", "train.lr=0.1"),
        ("train/model=cnn", "train/model=cnn"),
    ],
)
def test_a_setting_is_written_as_every_command_takes_it(word: str, written: str) -> None:
    assert option_settings.written_word(word, ROOT / "conf") == written
    assert option_settings.composed_word(written, ROOT / "conf").lstrip("+") == word.lstrip("+")
