from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from sightline.cli import app
from sightline.cli.base import DATA, MODELS, SERVE, TRAIN
from sightline.core.rejection import RejectionReason
from sightline.datasets import raw_set
from tests.exported import Project


def run(*arguments: object) -> tuple[int, str, str]:
    """Runs the command in this process; returns exit code, standard output and standard error."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


COMMAND = [sys.executable, "-c", "from sightline.cli import app; app()"]


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "größe 数字.png"
    path.write_text("no image")
    return path


def test_version_and_help() -> None:
    assert run("--version")[:2] == (0, "sightline 0.1.0\n")
    for arguments in (["--help"], ["-h"], []):
        assert "predict" in "".join(run(*arguments)[1:])
    code, text, _ = run("predict", "--help")
    assert code == 0
    for word in ("BUNDLE", "INPUT", "--output", "--format", "--top-k", "--strict", "--threads", "Exit codes"):
        assert word in text


def test_verbs_stand_in_groups_with_summaries_that_fit_80_columns() -> None:
    code, text, _ = run("--help")
    assert code == 0
    places = [text.index(f"\n{group}:\n") for group in (DATA, TRAIN, MODELS, SERVE)]
    assert places == sorted(places)
    for verb, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        assert command.rich_help_panel in (DATA, TRAIN, MODELS, SERVE), verb
        line = f"  {verb} "
        (shown,) = [row for row in text.splitlines() if row.startswith(line)]
        assert "..." not in shown, shown
        assert len(shown) <= 80, shown


def test_a_shell_can_complete_verbs() -> None:
    environment = {
        **os.environ,
        "_SIGHTLINE_COMPLETE": "complete_bash",
        "COMP_WORDS": "sightline li",
        "COMP_CWORD": "1",
    }
    command = [*COMMAND[:2], "from sightline.cli import app; app(prog_name='sightline')"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.stdout.split() == ["lineage"]


def test_what_was_refused_is_shown_by_reason(tmp_path: Path) -> None:
    code, _, err = run("rejected", tmp_path)
    assert code == 2
    assert "dvc repro ingest" in err
    raw_set.write_rejected([], tmp_path / raw_set.REJECTED)
    assert run("rejected", tmp_path)[:2] == (0, "nothing was rejected\n")
    empty = [raw_set.Rejection(f"{i}.png", RejectionReason.EMPTY, "") for i in range(3)]
    text = raw_set.Rejection("notes.txt", RejectionReason.NOT_AN_IMAGE, "text")
    raw_set.write_rejected([text, *empty], tmp_path / raw_set.REJECTED)
    assert run("rejected", tmp_path, "--limit", 2)[1].splitlines() == [
        "empty: 3; copy or download the file again, or delete it",
        "  0.png",
        "  1.png",
        "  ... 1 more (--limit)",
        "not_an_image: 1; ignore it if it is not meant as an image; otherwise copy or download it again",
        "  notes.txt: text",
    ]


def test_a_project_in_a_repository_is_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for verb in ("run", "check", "diff", "rejected", "repair"):
        assert run(verb)[::2] == (2, f"sightline: {tmp_path} contains no dvc.yaml: run it in the project's folder\n")
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    assert run("run")[::2] == (2, f"sightline: {tmp_path} is not in a git repository, which DVC needs: git init\n")


def test_a_table_by_default_and_a_summary_beside_it(project: Project, bad: Path) -> None:
    code, out, err = run("predict", project.bundle, project.pictures[3], bad)
    assert code == 0
    header, first, second = out.splitlines()
    assert header.split() == ["class", "probability", "novelty", "image"]
    assert first.endswith(str(project.pictures[3]))
    assert second.endswith(f"{bad}: not_an_image (text)")
    assert err == "2 inputs: 1 predicted, 1 failed (not_an_image: 1)\n"


def test_strict_fails_only_if_an_input_did(project: Project, bad: Path) -> None:
    assert run("predict", project.bundle, project.pictures[0], "--strict")[0] == 0
    assert run("predict", project.bundle, project.pictures[0], bad, "--strict")[0] == 1


def test_where_every_input_failed_the_whole_did(project: Project, bad: Path, tmp_path: Path) -> None:
    assert run("predict", project.bundle, bad, bad)[0] == 1
    assert run("predict", project.bundle, tmp_path / "gone.png")[0] == 1
    assert run("predict", project.bundle, project.pictures[0], "--threshold", "1")[0] == 0  # it abstains


def test_a_folder_to_a_csv_file(project: Project, tmp_path: Path) -> None:
    target = tmp_path / "new folder" / "rows.csv"
    code, out, err = run("predict", project.bundle, project.root / "pictures", "-o", target)
    assert (code, out) == (0, "")
    assert err == f"120 inputs: 120 predicted -> {target}\n"
    with target.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["path"] for row in rows] == [str(p) for p in project.pictures]
    right = sum(row["label"] == label for row, label in zip(rows, project.labels, strict=True))
    assert right / len(rows) > 0.7
    assert [p.name for p in target.parent.iterdir()] == ["rows.csv"]


@pytest.mark.parametrize(("name", "form"), [("x.json", None), ("x.JSONL", None), ("x.txt", "json"), ("x.csv", "jsonl")])
def test_the_format_follows_the_name_or_the_option(
    project: Project,
    tmp_path: Path,
    name: str,
    form: str | None,
) -> None:
    target = tmp_path / name
    code, _, _ = run(
        "predict", project.bundle, project.pictures[0], "-o", target, "-k", 2, *(["-f", form] if form else [])
    )
    text = target.read_text()
    (row,) = json.loads(text) if text.startswith("[") else [json.loads(text)]
    assert (code, row["path"], len(row["top"])) == (0, str(project.pictures[0]), 2)


def test_json_goes_to_standard_output_alone(project: Project) -> None:
    code, out, _ = run("predict", project.bundle, project.pictures[0], "no*match", "--format", "json")
    assert code == 0
    assert [row["error"] for row in json.loads(out)] == [None, "missing"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone", "x.png"], "sightline: gone: no such folder"),
        (["{tmp}", "x.png"], "is not a bundle: it contains no manifest.json"),
        (
            ["{bundle}", "x.png", "-o", "rows.xlsx"],
            "the name must end in .csv, .json, .jsonl, .parquet; or give --format",
        ),
        (["{bundle}", "x.png", "-o", "{bundle}/classes.json/x.csv"], "x.csv: "),
    ],
)
def test_a_users_fault_is_one_line_and_exit_code_2(
    project: Project,
    tmp_path: Path,
    arguments: list[str],
    message: str,
) -> None:
    code, out, err = run("predict", *(a.format(tmp=tmp_path, bundle=project.bundle) for a in arguments))
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert message in err


@pytest.mark.parametrize("arguments", [["predict"], ["predict", "x"], ["predict", "x", "y", "-k", "0"], ["predikt"]])
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    code, _, err = run(*arguments)
    assert code == 2
    assert "Traceback" not in err


def test_a_run_that_breaks_off_leaves_the_old_file(
    project: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from sightline.predict.bundle import Bundle

    target = tmp_path / "rows.csv"
    target.write_text("old")

    def interrupted(self: Bundle, images: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr(Bundle, "answers", interrupted)
    assert run("predict", project.bundle, project.pictures[0], "-o", target)[0] != 0
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("rows.csv", "old")]


def test_as_a_process_it_prints_unicode_under_any_locale(project: Project, bad: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [*COMMAND, "predict", str(project.bundle), str(project.pictures[0]), str(bad)]
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert done.returncode == 0
    assert b"gr\\xf6\\xdfe \\u6570\\u5b57.png: not_an_image" in done.stdout
    assert b"Traceback" not in done.stderr


def test_a_reader_that_goes_away_is_no_error(project: Project) -> None:
    command = [*COMMAND, "predict", str(project.bundle), *[str(project.root / "pictures")] * 40]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()


@pytest.mark.parametrize("arguments", [["--help"], ["predict", "--help"], ["--version"]])
def test_help_loads_no_number_cruncher(arguments: list[str]) -> None:
    command = [sys.executable, "-X", "importtime", *COMMAND[1:], *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    imported = {line.rsplit("|", 1)[1].strip().split(".")[0] for line in done.stderr.splitlines() if "|" in line}
    assert imported.isdisjoint({"numpy", "cv2", "onnxruntime", "torch", "hydra", "mlflow"})
