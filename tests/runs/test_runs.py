"""The table of runs in the terminal, and what two runs differ by."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sightline.cli import app
from sightline.core.errors import UserError
from sightline.runs import run_difference, run_query, run_reader, run_table
from sightline.runs.run_record import RunRecord, matching_run


def record(name: str, number: int = 0, parent: str | None = None, **metrics: float) -> RunRecord:
    """A run of so many minutes ago."""
    params = {"train.model.name": name.split()[0], "train.lr": name.split("lr=")[-1].split()[0]}
    tags = {"mlflow.parentRunId": parent} if parent else {}
    return RunRecord(f"{number:032x}", name, "FINISHED", -60_000 * number, "", metrics, params, tags)


RUNS = [
    record("cnn lr=0.002", 1, best_val_loss=0.05, test_accuracy=0.99, test_acc_low=0.97, latency_ms=0.25),
    record("dense lr=0.01 seed=3", 2, best_val_loss=0.2, test_accuracy=0.95),
    record("cnn lr=1e9", 3, best_val_loss=float("nan")),
    record("sweep train.lr lr=0", 4),
    record("cnn lr=0.03", 5, parent=f"{4:032x}", best_val_loss=0.1),
]


def names(runs: list[RunRecord]) -> list[str]:
    return [run.name for run in runs]


def test_runs_are_chosen_by_what_they_are_and_have() -> None:
    assert names(run_query.select(RUNS, ["model=cnn", "best_val_loss<0.2"])) == ["cnn lr=0.002", "cnn lr=0.03"]
    assert names(run_query.select(RUNS, ["name~SEED"])) == ["dense lr=0.01 seed=3"]
    assert names(run_query.select(RUNS, ["lr=2e-3"])) == ["cnn lr=0.002"]
    assert len(run_query.select(RUNS, ["test_accuracy!=0.95"])) == 4
    with pytest.raises(UserError, match=r"^--filter best_vall_loss: no run has it; there are id, .*best_val_loss"):
        run_query.select(RUNS, ["best_vall_loss<1"])
    with pytest.raises(UserError, match="fast is no number"):
        run_query.select(RUNS, ["lr<fast"])
    with pytest.raises(UserError, match="write KEY=VALUE"):
        run_query.select(RUNS, ["cnn"])


def test_the_best_come_first_and_those_without_a_number_last() -> None:
    first, second, third, *rest = names(run_query.order(RUNS, "best_val_loss"))
    assert (first, second, third) == ("cnn lr=0.002", "cnn lr=0.03", "dense lr=0.01 seed=3")
    assert set(rest) == {"cnn lr=1e9", "sweep train.lr lr=0"}
    assert names(run_query.order(RUNS, "test_accuracy"))[0] == "cnn lr=0.002"
    assert names(run_query.order(RUNS, "test_accuracy", reverse=True))[0] == "dense lr=0.01 seed=3"
    assert names(run_query.order(RUNS, "model"))[0].startswith("cnn")


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_the_table_fits_the_terminal(width: int) -> None:
    runs = [*RUNS, record("cnn lr=0.1 " + "x" * 90, 6)]
    lines = run_table.run_lines(run_table.with_jobs(runs), width, now=0)
    assert max(map(len, lines)) <= width
    assert "0.0500" in lines[1] or width == 40
    assert ("0.9900" in lines[1]) == (width > 40)
    (job,) = (line for line in lines if "cnn lr=0.03" in line)
    assert lines[lines.index(job) - 1].startswith("0000000  sweep")
    assert "    cnn lr=0.03" in job  # indented below its sweep
    assert any("…" in line for line in lines) == (width < 200)


def test_runs_of_one_name_and_several_commits_are_told_apart() -> None:
    def committed(number: int, commit: str) -> RunRecord:
        return replace(record("cnn lr=0.002", number), tags={"mlflow.source.git.commit": commit})

    one, other = committed(1, "a" * 40), committed(2, "b" * 40)
    head, *lines = run_table.run_lines([one, other], 80, now=0)
    assert head.split() == ["id", "name", "began", "commit"]
    assert [line.split()[-1] for line in lines] == ["aaaaaaa", "bbbbbbb"]
    assert "commit" not in run_table.run_lines([one, committed(2, "a" * 40), *RUNS[1:]], 80, now=0)[0]


def test_the_key_that_is_asked_for_is_shown_however_narrow() -> None:
    (head, first, *_) = run_table.run_lines(RUNS, 40, ["latency_ms", "lr"], now=0)
    assert head.split()[-2:] == ["ms", "lr"]
    assert first.split()[-2:] == ["0.25", "0.002"]


def test_settings_that_differ() -> None:
    a = {"train.model.name": "cnn", "train.model.width": "32", "train.lr": "0.1", "train.optimizer.lr": "0.1"}
    b = {"train.model.name": "dense", "train.model.hidden": "[9]", "train.lr": "0.2", "train.optimizer.lr": "0.2"}
    assert run_difference.differing_settings(a, b) == [("train.lr", "0.1", "0.2"), ("train.model", "cnn", "dense")]
    assert run_difference.differing_settings(a, a) == []
    assert run_difference.differing_settings(a, {**a, "train.model.width": "64"}) == [("train.model.width", "32", "64")]
    assert run_difference.differing_settings({**a, "train.seed": "1"}, a) == [("train.seed", "1", "-")]
    of_machine = {"train.num_workers": "{oc.decode:{oc.env:SIGHTLINE_NUM_WORKERS,0}}"}
    assert run_difference.differing_settings({**a, **of_machine}, a) == []
    assert run_difference.differing_settings({**a, "export.opset": "1"}, {**a, "train.lr": "1e-1"}) == []


def test_a_run_is_found_by_name_id_and_experiment() -> None:
    named = RunRecord("ab" * 16, "cnn lr=0.002", "FINISHED", 0, "", {}, {}, {"dvc.exp_name": "nowed-toil"})
    assert matching_run([named, *RUNS], "cnn lr=0.002") is named  # the newest
    assert matching_run([named, *RUNS], "nowed-toil") is named
    assert matching_run([named, *RUNS], "abab") is named
    several = ", ".join(f"{number:032x}" for number in range(1, 6))
    with pytest.raises(UserError, match=f"^0000: several runs begin with this; give more characters: {several}$"):
        matching_run([named, *RUNS], "0000")
    for unknown in ("aba", "000", "other"):
        with pytest.raises(UserError, match=f"^{unknown}: no run of that id or name"):
            matching_run([named, *RUNS], unknown)


# --- MLflow's own store --------------------------------------------------------------------------------------------


@pytest.fixture
def two(store: Any) -> tuple[str, str]:
    """The ids of two runs in MLflow's database."""
    experiment = store.create_experiment("sightline")
    ids = []
    for lr, accuracy in (("0.002", 0.99), ("0.02", float("nan"))):
        run = store.create_run(
            experiment, run_name=f"cnn lr={lr}", start_time=int(time.time() * 1000) - 60_000 * len(ids)
        )
        store.log_param(run.info.run_id, "train.lr", lr)
        store.log_metric(run.info.run_id, "test_accuracy", 0.1, step=0)
        store.log_metric(run.info.run_id, "test_accuracy", accuracy, step=1)
        store.log_text(run.info.run_id, json.dumps({"train.lr": lr, "train.seed": "0"}), "config/train.json")
        store.set_terminated(run.info.run_id)
        ids.append(run.info.run_id)
    gone = store.create_run(experiment, run_name="deleted")
    store.delete_run(gone.info.run_id)
    store.create_run(store.create_experiment("another"), run_name="another's")
    return ids[0], ids[1]


def test_the_database_is_read_as_mlflow_reads_it(two: tuple[str, str], store: Any, project: Path) -> None:
    light = run_reader.read_sqlite(project / "mlflow.db", "sightline")
    by_client = run_reader.read_by_client()
    assert [run.id for run in light] == list(two)
    assert [vars(run) | {"metrics": repr(run.metrics)} for run in light] == [
        vars(run) | {"metrics": repr(dict(run.metrics))} for run in by_client
    ]


def test_the_command_shows_them_without_mlflow(two: tuple[str, str], project: Path) -> None:
    code = "import sys; from sightline.cli import main; sys.argv[1:] = {}; main()"
    check = (
        "import atexit; atexit.register(lambda: print([m for m in ('mlflow', 'torch', 'numpy') if m in sys.modules]))"
    )

    def run(*words: str) -> list[str]:
        text = f"import sys; {check}; {code.format(list(words))}"
        done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    head, first, second, imported = run("runs", "--sort", "lr", "--reverse")
    assert head.split() == ["id", "name", "began", "lr", "test", "acc"]
    assert (first.split()[0], second.split()[0]) == (two[1][:7], two[0][:7])
    assert imported == "[]"
    *differing, imported = run("runs", two[0], "cnn lr=0.02")
    assert [line.split() for line in differing if "train." in line] == [["train.lr", "0.002", "0.02"]]
    assert imported == "[]"


@pytest.mark.parametrize("content", [None, b"no database" * 1000, b"notes", "a folder"])
def test_no_store_and_a_damaged_one_are_one_line(
    project: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | str | None
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project}/mlflow.db")
    if isinstance(content, bytes):
        (project / "mlflow.db").write_bytes(content)
    elif content is not None:
        (project / "mlflow.db").mkdir()
    done = CliRunner().invoke(app, ["runs"])
    assert done.exit_code == 2
    assert len(done.stderr.splitlines()) == 1
    assert "mlflow.db" in done.stderr
    assert ("there are no runs yet" in done.stderr) == (content is None)


def test_another_layout_of_the_database_is_left_to_mlflow(project: Path) -> None:
    with sqlite3.connect(project / "other.db") as connection:
        connection.execute("CREATE TABLE runs (id)")
    with pytest.raises(sqlite3.Error):
        run_reader.read_sqlite(project / "other.db", "sightline")
