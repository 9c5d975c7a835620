"""`sightline init`, as a user gives it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from sightline.cli import app
from sightline.core.errors import UserError
from sightline.project_setup import project_plan, scaffold
from sightline.project_setup.pace import Pace
from tests.wheel import installed

__all__ = ["installed"]


def draw(folder: Path, classes: tuple[str, ...] = ("disc", "square"), each: int = 20, side: int = 24) -> Path:
    """Writes small colour pictures of discs and squares, a folder per class."""
    random = np.random.default_rng(0)
    for number, label in enumerate(classes):
        (folder / label).mkdir(parents=True)
        for index in range(each):
            picture = random.integers(0, 60, (side, side, 3)).astype(np.uint8)
            x, y = random.integers(side // 3, side - side // 3, 2).tolist()
            color = random.integers(120, 255, 3).tolist()
            if number % 2:
                cv2.rectangle(picture, (x - 6, y - 6), (x + 6, y + 6), color, -1)
            else:
                cv2.circle(picture, (x, y), 7, color, -1)
            cv2.imwrite(str(folder / label / f"IMG_{index:03}.png"), picture)
    return folder


def environment(**changes: str) -> dict[str, str]:
    who = {f"GIT_{who}_{what}": "test@localhost" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "MLFLOW_", "SIGHTLINE_", "GIT_"))}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**kept, **who, "PATH": path, "OMP_WAIT_POLICY": "PASSIVE", "GIT_CONFIG_GLOBAL": os.devnull, **changes}


@pytest.fixture
def shapes(installed: Path, tmp_path: Path) -> Path:
    """A project that an installed wheel has made."""
    pictures, project = draw(tmp_path / "pictures"), tmp_path / "shapes"
    command = [sys.executable, "-c", "from sightline.cli import main; main()", "init", str(project)]
    quick = ["train.max_epochs=1", "baseline.methods=[majority]", "evaluate.explain=false"]
    quick += ["evaluate.robustness_images=0", "export.int8.enabled=false"]
    made = subprocess.run(
        [*command, "--images", str(pictures), *quick],
        env=environment(PYTHONPATH=str(installed)),
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert made.returncode == 0, made.stderr
    assert made.stdout.splitlines()[-1].endswith(f"cd {project} && sightline run")
    return project


@pytest.mark.slow
@pytest.mark.full
def test_two_commands_from_an_installed_wheel_make_a_model(installed: Path, shapes: Path) -> None:
    installation = environment(PYTHONPATH=str(installed))
    ran = subprocess.run(["dvc", "repro"], cwd=shapes, env=installation, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    assert 0 <= json.loads((shapes / "reports/metrics.json").read_text())["accuracy"] <= 1
    assert (shapes / "models/bundle/manifest.json").is_file()
    assert (shapes / "mlflow.db").is_file()


@pytest.mark.slow
def test_a_project_of_an_installed_wheel_goes_by_the_wheels_defaults(
    installed: Path, shapes: Path, tmp_path: Path
) -> None:
    assert not (shapes / "conf").exists()
    assert yaml.safe_load((shapes / "params.yaml").read_text())["ingest"] == {
        "source": "folder",
        "path": str(tmp_path / "pictures"),
        "limit": None,
    }
    git = ["git", "-C", str(shapes), "status", "--porcelain"]
    assert subprocess.run(git, env=environment(), capture_output=True, text=True, check=True).stdout == ""

    def digests() -> dict[str, object]:
        return dict(json.loads((shapes / "data/stages.json").read_text()))

    repro = ["dvc", "repro", "preprocess"]
    subprocess.run(repro, cwd=shapes, env=environment(PYTHONPATH=str(installed)), check=True, capture_output=True)
    before = digests()

    # Another version of the installed defaults is another setting: of what reads them, and of nothing else.
    site = tmp_path / "site"
    shutil.copytree(installed, site)
    defaults = site / "sightline/conf/export/default.yaml"
    defaults.write_text(defaults.read_text().replace("min_agreement: 0.9 ", "min_agreement: 0.8 "))
    other = site / "sightline/conf/ingest/source/mongodb.yaml"  # which is not selected
    other.write_text(other.read_text().replace("max_bytes: ${ingest.max_bytes}", "max_bytes: 5"))
    watch = [sys.executable, "-m", "sightline.stages", "watch"]
    subprocess.run(watch, cwd=shapes, env=environment(PYTHONPATH=str(site)), check=True)
    after = digests()
    assert [stage for stage in before if before[stage] != after[stage]] == ["export"]


def run(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["init", *map(str, words)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stderr


def _nothing(root: Path) -> Path:
    draw(root / "birds")
    return root / "brids"


def _no_class_folders(root: Path) -> Path:
    draw(root / "all", ("one",))
    return (root / "all/one").rename(root / "photos")


def _one_class(root: Path) -> Path:
    return draw(root / "birds", ("wren",))


def _one_class_of_several(root: Path) -> Path:
    return draw(root / "birds") / "disc"


def _one_image_each(root: Path) -> Path:
    return draw(root / "birds", each=1)


def _broken(root: Path) -> Path:
    draw(root / "birds")
    for path in (root / "birds").rglob("*.png"):
        path.write_bytes(path.read_bytes()[:200])
    return root / "birds"


def _mostly_broken(root: Path) -> Path:
    draw(root / "birds")
    for path in sorted((root / "birds").rglob("*.png"))[::4]:
        path.write_bytes(path.read_bytes()[:200])
    for path in sorted((root / "birds").rglob("*.png"))[1::2]:
        path.write_text("not found")
    return root / "birds"


def _heic(root: Path) -> Path:
    for label in ("owl", "wren"):
        (root / "birds" / label).mkdir(parents=True)
        for number in range(4):
            (root / "birds" / label / f"{number}.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    return root / "birds"


def _text_file(root: Path) -> Path:
    (root / "notes.txt").write_text("birds")
    return root / "notes.txt"


def _no_pictures(root: Path) -> Path:
    (root / "empty").mkdir()
    return root / "empty"


MISTAKES = {
    "wrong path": (_nothing, "there is --images {root}/birds"),
    "no class folders": (_no_class_folders, "move each into a folder named after its class"),
    "one class": (_one_class, "one class ('wren', 20 images), but at least two are needed"),
    "one of the class folders": (
        _one_class_of_several,
        "one class; next to it is square: name the folder above: sightline init {root}/new --images {root}/birds",
    ),
    "one image of each class": (_one_image_each, "add images, or merge classes"),
    "broken pictures": (_broken, "copy or download the file again, or delete it"),
    "mostly broken pictures": (_mostly_broken, "ingest.max_rejected=1 goes on without them, and `sightline rejected`"),
    "photographs of a phone": (_heic, "heif-convert FILE FILE.jpg"),
    "another file": (_text_file, "name a folder, a .zip or .tar, or a list"),
    "no pictures": (_no_pictures, "name the folder that contains one folder of images per class"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_with_the_images_is_one_line_with_a_remedy(mistake: str, tmp_path: Path) -> None:
    make, remedy = MISTAKES[mistake]
    code, output = run(tmp_path / "new", "--images", make(tmp_path))
    assert code == 2
    assert output.count("\n") == 1
    assert remedy.format(root=tmp_path) in output
    assert "class_depth" not in output
    assert not (tmp_path / "new").exists()


def test_the_remedy_for_broken_pictures_works_as_it_is_typed(tmp_path: Path) -> None:
    source = ("--images", _mostly_broken(tmp_path))
    assert "ingest.max_rejected=0.5: 30 of 40 inputs were rejected" in run(tmp_path / "new", *source)[1]
    shown = CliRunner().invoke(app, ["init", "--explain", *map(str, source), "ingest.max_rejected=1"])
    assert shown.exit_code == 0, shown.output
    assert "30 of 40 inspected were rejected (the first: disc/IMG_000.png: " in " ".join(shown.output.split())


def test_a_mistake_with_the_projects_folder_is_one_line_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = draw(tmp_path / "birds")
    (tmp_path / "full/notes").mkdir(parents=True)
    assert f"name a new folder, such as {tmp_path}/full-project" in run(tmp_path / "full", "--images", pictures)[1]
    (tmp_path / "made").mkdir()
    (tmp_path / "made/params.yaml").touch()
    assert f"cd {tmp_path}/made && sightline run" in run(tmp_path / "made", "--images", pictures)[1]
    assert f"outside, such as {tmp_path}/birds-project" in run(pictures / "new", "--images", pictures)[1]
    (tmp_path / "other/.dvc").mkdir(parents=True)
    assert f"outside, such as {tmp_path}/other-project" in run(tmp_path / "other/new", "--images", pictures)[1]
    assert "sightline init my-project --images" in run("--images", pictures)[1]
    assert "--images FOLDER" in run(tmp_path / "new")[1]
    monkeypatch.chdir(tmp_path)
    assert "DIR is missing" in run("--images", pictures, "train.max_epochs=3")[1]  # and no folder of that name is made
    monkeypatch.setenv("PATH", "")
    assert "git is not installed" in run(tmp_path / "new", "--images", pictures)[1]


def test_in_doubt_and_without_a_terminal_the_ways_are_named(tmp_path: Path) -> None:
    pictures = draw(tmp_path / "birds")
    (pictures / "labels.csv").write_text("path,label\ndisc/IMG_000.png,a\nsquare/IMG_000.png,b\n")
    code, output = run(tmp_path / "new", "--images", pictures)
    assert code == 2
    assert "1: a folder per class; 2: the classes that labels.csv lists" in output
    assert "--yes takes the first" in output


def test_a_home_is_understood_and_settings_given_by_hand_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(tmp_path / "birds")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "merge.yaml").write_text("disc: round\n")
    words = ["train.max_epochs=3", "ingest.source_options.layout=classes", "ingest.labels=merge.yaml"]
    plan = project_plan.plan("~/birds", words)
    assert plan.chosen["ingest.labels"].value == str(tmp_path / "merge.yaml"), "the project is in another folder"
    assert plan.chosen["ingest.path"].value == str(tmp_path / "birds")
    assert plan.chosen["train.max_epochs"].value == 3
    assert plan.chosen["evaluate.title"].value == "birds"
    assert plan.chosen["ingest.source_options"].value == {"layout": "classes"}
    with pytest.raises(UserError, match=r"train\.model: no option 'resnet8'"):
        project_plan.plan("~/birds", ["train.model=resnet8"])


def test_settings_that_go_by_the_epochs_go_by_those_that_fit_into_a_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(tmp_path / "birds")
    monkeypatch.setattr(project_plan, "measure_pace", lambda *_: Pace(0.1, 0.0, 50.0, 64))
    without = project_plan.plan(str(tmp_path / "birds")).chosen["train.max_epochs"].value
    chosen = project_plan.plan(str(tmp_path / "birds"), seconds=200.0).chosen
    assert chosen["train.max_epochs"].value < without
    assert chosen["train.patience"].value == chosen["train.max_epochs"].value
    given = project_plan.plan(str(tmp_path / "birds"), ["train.max_epochs=7"], seconds=200.0).chosen
    assert (given["train.max_epochs"].value, given["train.patience"].value) == (7, 7)


def test_a_project_that_git_did_not_commit_says_how_to_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    for name in [name for name in os.environ if name.startswith(("GIT_AUTHOR_", "GIT_COMMITTER_"))]:
        monkeypatch.delenv(name)
    (tmp_path / "gitconfig").write_text("[user]\nuseConfigOnly = true\n")
    folder = tmp_path / "my birds"
    (line,) = scaffold.make_project(folder, "seed: 0\n", "")
    subprocess.run(line.partition(": ")[2], shell=True, check=True)  # noqa: S602 - as it is typed
    done = subprocess.run(["git", "-C", str(folder), "status", "--short"], capture_output=True, check=True)
    assert done.stdout == b""
    subprocess.run(["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, check=True)


@pytest.mark.parametrize(("each", "few"), [(3, True), (10, False)])
def test_a_set_whose_splits_may_be_empty_is_called_too_small(tmp_path: Path, each: int, few: bool) -> None:
    images = draw(tmp_path / "images", each=each)
    done = CliRunner().invoke(app, ["init", "--explain", "--images", str(images)])
    assert done.exit_code == 0, done.output
    assert ("a split may get none: use about 10 per class or more" in done.output) is few
