"""Settings of runs taken over into params.yaml: all of them, with comments that stay true."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from sightline import tracking
from sightline.config.compose import compose, read_params, saved_overrides
from sightline.config.params import parse_yaml
from sightline.core.errors import UserError
from sightline.datasets.data_settings import flat_params
from sightline.project_setup import params_file
from sightline.project_setup.choice import Choice
from sightline.sweep import adoption, params_comments, params_edit, run_knobs
from sightline.tracking.find_run import FoundRun, NoRunError
from tests.sweep.fakes import start

SECTIONS = ("ingest", "preprocess", "train", "evaluate", "export")
OTHER = [
    "train/model=dense",
    "++train.model.hidden=[48,24]",
    "train.lr=0.0005",
    "++train.threads=1",
    "preprocess/resize=pad",
    "preprocess.size=24",
    "preprocess.fold='1 of 5'",
    "export.int8.enabled=false",
    "++evaluate.tta=[mirror]",
]


def settings(*words: str, params: Any = None) -> dict[str, str]:
    return flat_params(compose([*saved_overrides(params or read_params()), *words]), *SECTIONS)


def test_a_runs_settings_are_taken_over_and_comments_that_tell_what_a_knob_is_stay(project: Path) -> None:
    wanted = settings(*OTHER)
    before = Path("params.yaml").read_text()
    new = run_knobs.adopted(before, wanted)
    assert settings(params=parse_yaml(new.text)) == wanted != settings()
    assert not new.left
    assert re.search(r"^  lr: 0\.0005 +# peak learning rate$", new.text, re.MULTILINE)
    assert re.search(r'^  fold: 1 of 5 +# "1 of 5": ', new.text, re.MULTILINE)
    assert run_knobs.adopted(new.text, wanted).text == new.text
    assert params_comments.remarked(before, new.text, "one") == new.text


def test_what_cannot_be_taken_over_is_named_and_the_rest_is(project: Path) -> None:
    odd = {"train.gone": "3", "ingest.url": "postgresql://***@host/db", "preprocess": "not known", "train.lr": "0.5"}
    new = run_knobs.adopted(Path("params.yaml").read_text(), {**settings(), **odd})
    assert new.left == [
        "preprocess: not known",
        "ingest.url: credentials are not recorded with runs",
        "train.gone=3: there is no such setting any more",
    ]
    assert settings(params=parse_yaml(new.text)) == settings("train.lr=0.5")


def test_a_reason_for_a_value_that_goes_says_so(project: Path) -> None:
    rate = Choice(0.002, "0.003 for so many images, less for fine tuning")
    before = params_file.params_text({"train.lr": rate, "train.model": Choice("cnn", "small pictures")})
    after = params_comments.remarked(before, before.replace("lr: 0.002", "lr: 0.5").replace("cnn", "dense"), "one")
    assert re.search(r"^  lr: 0\.5 +# adopted from one; was 0\.002 \(0\.003 for so many images", after, re.MULTILINE)
    assert re.search(r"^  model: dense +# adopted from one; was cnn \(small pictures\)$", after, re.MULTILINE)
    assert re.search(r"^  seed: 0 +# seed of all randomness$", after, re.MULTILINE)
    again = params_comments.remarked(after, after.replace("model: dense", "model: probe"), "two")
    assert re.search(r"^  model: probe +# adopted from two; was cnn \(small pictures\)$", again, re.MULTILINE)


def test_a_null_that_dvc_wrote_as_nothing_is_no_change(project: Path) -> None:
    text = params_file.params_text({"ingest.limit": Choice(None, "maximum number of images")})
    before = re.sub(r"^  limit: null", "  limit:     ", text, flags=re.MULTILINE)
    assert before != text
    assert params_comments.remarked(before, text, "one") == text
    assert params_edit.changed(before, ["ingest.limit=null"]) == before
    after = params_edit.changed(before, ["train.seed=7"])
    assert [line for line in after.splitlines() if line not in before.splitlines()] == [
        next(line for line in after.splitlines() if line.startswith("  seed: 7"))
    ]
    filled = params_edit.changed(before, ["ingest.limit=50"])
    assert "adopted from one; was null (maximum number of images)" in params_comments.remarked(before, filled, "one")


def test_neither_sweep_nor_run_is_one_plain_sentence(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(reference: str) -> FoundRun:
        raise NoRunError(f"{reference}: no folder, no commit, and no run of that id or name")

    monkeypatch.setattr(tracking, "find_run", missing)
    with pytest.raises(
        UserError, match=r"^nonsense: no sweep or run has that name or id; `sightline runs` shows those"
    ):
        list(adoption.adopt("nonsense"))


def test_of_a_sweep_by_several_metrics_a_job_is_taken_over_by_its_place(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(monkeypatch, "train.lr=0.3,0.1,0.2", "sweep.metric=[val_accuracy,megabytes]")
    with pytest.raises(UserError, match=r"no best job; .*reports/sweeps/one\.html.*: `sightline adopt one --job 1`$"):
        list(adoption.adopt("one"))
    with pytest.raises(UserError, match=r"^one: there is no job 4, its ranking goes from 1 to 3$"):
        list(adoption.adopt("one", 4))
    assert any(line.startswith("+ lr: 0.2") for line in adoption.adopt("one", 2))
    assert read_params()["train"]["lr"] == 0.2
