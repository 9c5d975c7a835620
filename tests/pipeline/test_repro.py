"""Stages that `dvc repro` reruns after a change, and those that it does not."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from pathlib import Path

import pytest

from tests.pipeline.conftest import Base
from tests.pipeline.project import STAGES, Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def closing(output: str) -> list[str]:
    """Returns the first words of the last lines about the model."""
    heads = ("accuracy", "baselines", "report", "MLflow", "next")
    return [line.split()[0] for line in output.splitlines() if line.startswith(tuple(f"{head:<11}" for head in heads))]


def test_the_first_repro_runs_every_stage_and_scores_the_test_split(base: Base):
    assert tuple(base.ran.ran) == STAGES
    assert "WARNING" not in base.ran.output
    assert closing(base.ran.output) == ["accuracy", "baselines", "report", "MLflow", "next"]
    metrics = json.loads(base.project.read("reports/metrics_detail.json"))
    assert {"accuracy", "precision_macro", "recall_macro", "f1_macro"} <= metrics.keys()
    assert all(isinstance(value, int | float) for value in metrics.values()), "not flat"
    assert all(0 <= metrics[name] <= 1 for name in ("accuracy", "precision_macro", "recall_macro", "f1_macro"))


def test_nothing_changed_runs_only_watch(project: Project):
    before = project.outputs()
    assert project.repro().ran == ["watch"]
    assert project.outputs() == before


def test_editing_unselected_options_reruns_nothing(project: Project):
    for path in ("ingest/source/folder", "preprocess/denoise/median", "train/model/resnet18", "train/augment/light"):
        project.append(f"conf/{path}.yaml", "# edited")
    assert project.repro().ran == ["watch"]


def test_editing_a_selected_option_reruns_its_stage_and_what_follows(project: Project):
    project.append("conf/train/augment/digits.yaml", "# edited")
    project.append("conf/preprocess/default.yaml", "# edited")
    assert project.repro().ran == ["watch"]
    project.edit("conf/train/augment/digits.yaml", "translate: 0.1", "translate: 0.2")
    assert project.repro("train").ran == ["watch", "train"]
    assert changed(project) == {"watch", "evaluate", "headline", "export"}


def test_a_comment_in_the_code_reruns_nothing_and_other_code_the_stages_that_run_it(project: Project):
    before = project.outputs()
    for path in ("pipeline/train.py", "src/sightline/stages/train/fit.py", "src/sightline/core/files.py"):
        project.append(path, "# edited")
    assert project.repro().ran == ["watch"]
    project.append("src/sightline/stages/train/fit.py", "EDITED = True")
    assert project.repro().ran == ["watch", "train"]  # the model is the same, so nothing follows
    after = project.outputs()
    assert {path for path in before if before[path] != after.get(path)} == {"data/stages.json"}


@pytest.mark.full
def test_editing_how_to_evaluate_reruns_evaluation_and_export_only_for_new_metrics(project: Project):
    project.edit("conf/evaluate/default.yaml", "gallery: 24", "gallery: 23")
    assert project.repro().ran == ["watch"]  # params.yaml has it otherwise
    project.edit("conf/evaluate/default.yaml", "explain: true", "explain: false")
    ran = project.repro()
    assert (ran.ran, len(closing(ran.output))) == (["watch", "evaluate"], 5)
    project.edit("conf/evaluate/default.yaml", "top_k: 5", "top_k: 2")
    ran = project.check("sightline", "run")
    assert (ran.ran, len(closing(ran.output))) == (["watch", "evaluate", "headline", "export"], 5)


def test_a_new_learning_rate_reruns_training_and_what_follows(project: Project):
    """As an experiment of DVC's, which edits params.yaml and then does what `dvc repro` does."""
    done = project.check("dvc", "exp", "run", "--name", "faster", "--set-param", "train.lr=0.01")
    assert done.ran == ["watch", "train", "evaluate", "headline", "export"]
    assert "\n  lr: 0.01 " in project.read("params.yaml")
    assert json.loads(project.read("models/model.json"))["training"]["lr"] == 0.01
    run = project.runs()[0]
    assert (run.info.run_name, run.data.tags["dvc.exp_name"]) == ("cnn lr=0.01", "faster")
    assert run.data.params["train.lr"] == "0.01"
    assert project.repro().ran == ["watch"]


def test_an_experiment_can_choose_another_network(project: Project):
    done = project.check("dvc", "exp", "run", "--set-param", "train.model=resnet18", "train")
    assert done.ran == ["watch", "train"]
    assert changed(project) == {"watch", "evaluate", "headline", "export"}
    assert json.loads(project.read("models/model.json"))["architecture"]["name"] == "resnet18"
    run = project.runs()[0]
    assert run.info.run_name.startswith("resnet18 ")
    assert run.data.tags["dvc.exp_name"] in done.output  # the name that DVC gave the experiment
    assert run.data.params["train.model.name"] == "resnet18"


@pytest.mark.full
def test_everything_again_elsewhere_gives_the_same_lock_byte_for_byte(base: Base, tmp_path: Path):
    other = base.project.clone(tmp_path / "another folder" / "project", "HEAD~1")  # of before the results
    circumstances = {"PYTHONHASHSEED": "2", "SIGHTLINE_NUM_WORKERS": "2", "TZ": "Asia/Kathmandu", "LC_ALL": "POSIX"}
    assert tuple(other.repro("--force", **circumstances).ran) == STAGES
    ours, theirs = base.project.outputs(), other.outputs()
    assert {path for path in ours.keys() | theirs.keys() if ours.get(path) != theirs.get(path)} == set()
    assert other.read("dvc.lock") == base.project.read("dvc.lock")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train__lr": "fast"}, "train.lr"),
        ({"preprocess__denoise": "gausian"}, "preprocess.denoise: no option 'gausian'; did you mean 'gaussian'?"),
    ],
)
def test_a_bad_value_ends_the_repro_before_any_work(project: Project, change: dict[str, str], message: str):
    before = project.outputs()
    project.set(**change)
    done = project.command("dvc", "repro")
    assert done.code != 0
    assert message in done.output
    assert "Traceback" not in done.output
    assert project.outputs() == before


def test_paths_with_odd_characters_are_only_paths(project: Project, tmp_path: Path):
    odd = Project(tmp_path / "it's $HOME; a & 'b' ü")
    os.rename(project.root, odd.root)  # noqa: PTH104
    assert odd.repro().ran == ["watch"]


@pytest.mark.full
def test_a_weights_file_is_a_dependency_of_training(project: Project):
    torch = pytest.importorskip("torch")
    from torchvision.models import resnet18

    first, second = (project.root / "weights.pth", project.root.parent / "others.pth")
    for seed, path in enumerate((first, second)):
        torch.manual_seed(seed)
        torch.save(resnet18().state_dict(), path)
    kept = first.read_bytes()
    (project.root / "weights.pth.license").write_text("SPDX-License-Identifier: BSD-3-Clause\n")
    project.set(train__model="resnet18")
    project.edit("params.yaml", '  model: "resnet18"', '  model: "resnet18"\n  model_options: {weights: weights.pth} #')
    assert project.repro("train").ran == ["watch", "train"]
    info = json.loads(project.read("models/model.json"))
    expected = {"sha256": hashlib.sha256(kept).hexdigest(), "license": "BSD-3-Clause"}
    assert info["initial_weights"] == expected
    tags = project.runs()[0].data.tags
    assert {name: tags[f"sightline.initial_weights.{name}"] for name in expected} == expected
    assert project.repro("train").ran == ["watch"]

    shutil.copy(second, first)
    assert project.repro("watch").ran == ["watch"]
    why = r"^train:\n\tchanged deps:\n\t\tdata/weights.json:\n\t\t\tmodified: +weights$"
    assert re.search(why, status(project), re.MULTILINE)
    assert project.repro("train").ran == ["watch", "train"]
    again = json.loads(project.read("models/model.json"))
    assert again["initial_weights"]["sha256"] != expected["sha256"]
    assert again["weights_sha256"] != info["weights_sha256"]

    first.write_bytes(kept)  # what was trained once is not trained again
    assert project.repro("train").ran == ["watch"]
    assert json.loads(project.read("models/model.json")) == info

    first.unlink()
    before = project.outputs()
    missing = project.command("dvc", "repro", "train")
    assert missing.code != 0
    assert "train.model.weights: no file weights.pth" in missing.output
    assert project.outputs() == before


def status(project: Project) -> str:
    return project.check("dvc", "status", "train").output


def changed(project: Project) -> set[str]:
    """Returns the stages that are to run by what is there now."""
    return set(json.loads(project.check("dvc", "status", "--json").output))
