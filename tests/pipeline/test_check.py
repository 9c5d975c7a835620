"""`sightline check`: whether anything is out of date, and what makes it so, without running, pulling or writing."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.pipeline.project import Project

pytestmark = pytest.mark.slow


def check(project: Project, code: int) -> list[str]:
    before = project.check("git", "status", "--porcelain").output
    done = project.command("sightline", "check")
    assert done.code == code, done.output
    assert project.check("git", "status", "--porcelain").output == before
    return done.output.splitlines()


def test_a_reproduced_project_is_up_to_date_and_so_is_its_clone(project: Project, tmp_path: Path) -> None:
    assert check(project, 0) == ["up to date"]
    subprocess.run(["git", "clone", "--quiet", project.root, tmp_path / "clone"], check=True)
    clone = Project(tmp_path / "clone")
    assert check(clone, 0) == ["up to date"]
    assert not (clone.root / "data" / "raw").exists()  # nothing was pulled or run
    assert not (clone.root / "data" / "source.json").exists()
    clone.set(evaluate__gallery=3)
    assert check(clone, 1) == [
        "evaluate: evaluate.gallery: 4 -> 3",
        "headline, export: if what they read changes",
    ]


def test_knobs_options_and_code_are_named(project: Project) -> None:
    project.set(train__lr=0.03, train__model="dense")
    project.append("conf/train/default.yaml", "# a comment")
    project.edit("conf/export/default.yaml", "min_agreement: 0.9", "min_agreement: 0.8")
    project.edit("src/sightline/stages/baseline/__init__.py", '"""The baseline stage', '"""Now the baseline stage')
    assert check(project, 1) == [
        "train: train.model: cnn -> dense",
        "train: train.lr: 0.002 -> 0.03",
        "export: its settings in conf/: conf/export/default.yaml",
        "evaluate, headline: if what they read changes",
    ]
    output = json.loads(project.command("sightline", "check", "--json").output)
    assert (output[0]["name"], output[0]["after"]) == ("train", [])
    assert {stage["name"]: set(stage["after"]) for stage in output}["export"] == {"train", "evaluate"}


def test_a_changed_function_is_named_and_a_comment_is_no_change(project: Project) -> None:
    project.append("src/sightline/stages/train/stage.py", "# a comment")
    assert check(project, 0) == ["up to date"]
    project.append("src/sightline/stages/train/stage.py", "\n\ndef more() -> None:\n    return None")
    assert check(project, 1)[0] == "train: its code: src/sightline/stages/train/stage.py (more)"
    project.append("dvc.lock", "# as by a repro that is not committed")
    assert check(project, 1)[0] == "train: its code"  # of which commit's code the lock is cannot be known


def test_a_changed_source_an_output_changed_by_hand_and_a_stage_that_never_ran(project: Project) -> None:
    project.append("reports/metrics.json", " ")
    assert check(project, 1) == [
        "headline: reports/metrics.json has changed since the stage wrote it",
    ]
    project.check("git", "checkout", "--quiet", "reports/metrics.json")
    source = project.root / "data" / "source.json"
    source.write_text(source.read_text().replace('"digits"', '"other"'))
    assert check(project, 0) == ["up to date"]  # what it says is looked at anew
    project.edit("dvc.yaml", "  baseline:\n", "  more:\n    cmd: echo\n    outs: [more.txt]\n  baseline:\n")
    assert "more: it has never run" in check(project, 1)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda root: (root / "dvc.lock").write_text("stages: [\n"), "sightline repair"),
        (lambda root: (root / "dvc.yaml").unlink(), "contains no dvc.yaml: run it in the project's folder"),
        (lambda root: (root / "params.yaml").write_text("train: {lr: -1}\n"), "train.lr"),
        (
            lambda root: (root / "dvc.yaml").write_text(
                (root / "dvc.yaml").read_text().replace("  watch:\n", "  watch:\n    deps: [models/bundle]\n")
            ),
            "dvc.yaml: stages read what each other write: ",
        ),
    ],
)
def test_an_error_is_one_line_and_exit_code_2(project: Project, change: Callable[[Path], object], line: str) -> None:
    change(project.root)
    done = project.command("sightline", "check")
    assert done.code == 2, done.output
    assert line in done.output
    assert len(done.output.splitlines()) == 1


@pytest.mark.full
def test_a_diff_names_images_knobs_and_metrics(project: Project, tmp_path: Path) -> None:
    nothing = project.check("sightline", "diff").output
    assert nothing.startswith("Nothing differs between HEAD and the working folder\n")
    assert nothing.splitlines()[1:] == ["", "Data", "  200 -> 200 images, the same"]
    project.set(ingest__limit=180, train__lr=0.01)
    project.repro("headline")
    page = tmp_path / "diff.html"
    output = project.check("sightline", "diff", "--output", str(page)).output
    assert output.startswith("From HEAD to the working folder\n")
    assert "200 -> 180 images" in output
    assert re.search(r"^  train\.lr +0\.002 +0\.01$", output, re.MULTILINE)
    assert re.search(r"^  Accuracy .*(cannot be told apart|better|worse)$", output, re.MULTILINE)
    assert "test images" in output
    assert re.search(r"^  an epoch of training, s +[\d.]+ +[\d.]+$", output, re.MULTILINE)
    html = page.read_text()
    right, wrong = re.findall(r"(\d+) wrong before and right now, (\d+) right before and wrong now", output)[0]
    for title, count in (("Wrong before, right now", right), ("Right before, wrong now", wrong)):
        assert (f"{title}: {count}</h2>" in html) == (count != "0")  # in pictures
    assert "Removed: 20" in html
    assert html.count("data:image/png") >= 20
    assert f"{page}" in output
    project.commit("fewer images")
    back = project.check("sightline", "diff", "HEAD~1", "--against", "HEAD", "--markdown").output
    assert back.startswith("### From HEAD\\~1 to HEAD\n")
    assert "| train.lr | 0.002 | 0.01 |" in back
    shutil.rmtree(project.root / ".dvc" / "cache")  # what the earlier commit's data need is gone: the rest can be told
    without = project.check("sightline", "diff", "HEAD~1").output
    assert "Not compared\n  HEAD~1 has no data/processed/classes.json, reports/predictions.parquet here" in without
    assert "Accuracy" in without
    done = project.command("sightline", "diff", "nowhere")
    assert (done.code, len(done.output.splitlines())) == (2, 1)
