"""The tracking store: damaged, moved, made by two at once; and runs whose process was killed."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig

from sightline import tracking
from sightline.core.errors import UserError
from sightline.tracking import (
    Tracker,
    baseline_run,
    offline_queue,
    resume_by_model,
    start_training,
    start_trial,
)
from sightline.tracking.database import sole_migration
from tests.tracking.test_tracking import (
    DIGEST,
    all_runs,
    mlflow,
    the_run,
    use_everything,
)


@pytest.fixture
def embedded(project: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project with an empty store of its own, named by no variable."""
    (project / "here").mkdir()
    (project / "here" / "mlflow.db").write_bytes(migrated.read_bytes())
    os.chdir(project / "here")  # `project` goes back
    # MLflow keeps a store open under its name, which is the same in every folder.
    for module in (tracking.uris, tracking.mlflow_store, tracking.open_runs):
        monkeypatch.setattr(module, "own_uri", lambda: f"sqlite:///{Path.cwd() / 'mlflow.db'}")
    yield project / "here"
    mlflow.set_tracking_uri(None)


# --- whatever is wrong with MLflow is a warning ------------------------------------------------------------------


def flipped(path: Path, sound: bytes) -> None:
    damaged = bytearray(sound)
    for place in range(4096, len(damaged), 997):
        damaged[place] ^= 0xFF
    path.write_bytes(bytes(damaged))


def folder(path: Path, sound: bytes) -> None:
    path.mkdir()


def text(path: Path, sound: bytes) -> None:
    path.write_text("notes on the runs\n")


def of_a_newer_mlflow(path: Path, sound: bytes) -> None:
    path.write_bytes(sound)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
        connection.execute("DROP TABLE metrics")


def other(path: Path, sound: bytes) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE experiments (x)")


DAMAGES: dict[str, Callable[[Path, bytes], Any]] = {
    "flipped": flipped,
    "cut": lambda path, sound: path.write_bytes(sound[: len(sound) // 2]),
    "text": text,
    "garbage": lambda path, sound: path.write_bytes(sound[:10] + b"this is no database" * 100),
    "other": other,
    "newer": of_a_newer_mlflow,
    "folder": folder,
    "nowhere": lambda path, sound: path.parent.write_bytes(sound),
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_store_is_one_warning_and_what_was_said_is_kept(
    project: Path,
    migrated: Path,
    config: DictConfig,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    damage: str,
) -> None:
    path = project / ("missing/mlflow.db" if damage == "nowhere" else "mlflow.db")
    DAMAGES[damage](path, migrated.read_bytes())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path}")
    (project / "note.txt").write_text("x")
    began = time.monotonic()
    use_everything(start_training(config), project / "note.txt")
    assert time.monotonic() - began < 90
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("tracking:")]
    assert len(lines) == 1
    assert str(path) in lines[0]
    assert "the stage continues without it, its outputs are complete" in lines[0]
    assert "`sightline sync`" in lines[0]
    (kept,) = offline_queue.finished()
    calls = [method for method, _ in kept.calls]
    assert "_terminate" in calls
    assert "log_artifact" in calls

    for begin in (
        lambda: resume_by_model(DIGEST, {}),
        lambda: start_trial("find-lr", config),
        lambda: baseline_run("dense", config, {}, project / "note.txt"),
    ):
        assert begin().run_id is None
        assert capsys.readouterr().err.count("tracking: MLflow failed") == 1
    for ask in (lambda: tracking.find_run("name"), lambda: list(tracking.sync())):
        with pytest.raises(UserError, match=r"^MLflow failed \(.*mlflow\.db: ") as caught:
            ask()
        assert "\n" not in str(caught.value)
    mlflow.set_tracking_uri(None)


def test_a_locked_store_is_one_warning_and_is_told_later(
    store: Any,
    config: DictConfig,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(tracking.database, "BUSY", 0.3)
    with contextlib.closing(sqlite3.connect(project / "mlflow.db")) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        use_everything(start_training(config), project / "mlflow.db")
        (message,) = capsys.readouterr().err.splitlines()
        assert "database is locked" in message
        assert "end the program that holds" in message
    assert len(list(tracking.sync())) == 1
    assert the_run(store).info.status == "FINISHED"


def test_a_fault_that_nobody_knows_is_a_warning_too(
    store: Any,
    config: DictConfig,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tracker = start_training(config)

    def broken(*args: Any, **kwargs: Any) -> None:
        raise KeyError("nobody has seen this")

    monkeypatch.setattr(mlflow.MlflowClient, "log_batch", broken)
    tracker.log_metrics({"a": 1.0})
    assert tracker.run_id is None
    assert "KeyError: 'nobody has seen this'" in capsys.readouterr().err
    monkeypatch.undo()
    tracker.finish()


# --- made by two at once -----------------------------------------------------------------------------------------

FIRST_USE = """
import sys
from sightline.tracking import resume_by_model
print(resume_by_model(sys.argv[1], {}).run_id)
"""


@pytest.mark.slow
def test_two_projects_may_make_one_store_at_the_same_time(project: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW")}
    environment["MLFLOW_TRACKING_URI"] = f"sqlite:///{project}/shared.db"
    for name in "ab":
        (project / name).mkdir()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", FIRST_USE, name * 64],
            env=environment,
            cwd=project / name,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in "ab"
    ]
    outputs = [process.communicate(timeout=240) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert not any("tracking:" in err for _, err in outputs), outputs
    store = mlflow.MlflowClient(tracking_uri=environment["MLFLOW_TRACKING_URI"])
    assert {run.info.run_id for run in all_runs(store)} == {out.strip() for out, _ in outputs}


def test_one_at_a_time_may_make_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = f"sqlite:///{tmp_path}/shared.db"
    inside: list[int] = []

    def enter(number: int) -> None:
        with sole_migration(uri):
            inside.append(number)
            assert len(inside) == 1
            time.sleep(0.2)
            inside.clear()

    threads = [threading.Thread(target=enter, args=[number]) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    monkeypatch.setattr(tracking.database, "PATIENCE", 0.2)
    with sole_migration(uri), pytest.raises(TimeoutError, match="another process has held it"), sole_migration(uri):
        pass
    with sole_migration("sqlite:////nowhere/at/all.db"), sole_migration("http://127.0.0.1:9"):
        pass


# --- moved and copied --------------------------------------------------------------------------------------------


def test_a_moved_project_finds_its_artifacts_and_writes_where_it_is(embedded: Path, config: DictConfig) -> None:
    def train(text: str) -> str:
        Path("note.txt").write_text(text)
        tracker = start_training(config)
        tracker.log_artifact(Path("note.txt"))
        tracker.finish()
        return str(tracker.run_id)

    first = train("before")
    moved = embedded.with_name("other place 3 ü'x")
    embedded.rename(moved)
    os.chdir(moved)
    mlflow.set_tracking_uri(None)
    second = train("after")
    for run, text in ((first, "before"), (second, "after")):
        assert (moved / "mlartifacts" / run / "artifacts" / "note.txt").read_text() == text
        found = tracking.download(tracking.find_run(run).id, "note.txt", moved)
        assert found is not None
        assert found.read_text() == text
    assert not embedded.exists()
    with contextlib.closing(sqlite3.connect("mlflow.db")) as connection:
        dump = "\n".join(connection.iterdump())
    assert f"{embedded}/" not in dump
    assert str(moved).replace("'", "''") in dump


def test_a_copy_leaves_the_original_alone(embedded: Path, config: DictConfig) -> None:
    tracker = start_training(config)
    tracker.finish()
    before = (embedded / "mlflow.db").read_bytes()
    copy = embedded.with_name("copy")
    copy.mkdir()
    (copy / "mlflow.db").write_bytes(before)
    tracking.database.relocate(copy / "mlflow.db", copy)
    tracking.database.relocate(embedded / "mlflow.db", embedded)
    assert (embedded / "mlflow.db").read_bytes() == before
    with contextlib.closing(sqlite3.connect(copy / "mlflow.db")) as connection:
        (place,) = connection.execute("SELECT artifact_uri FROM runs").fetchone()
    assert place == f"{copy}/mlartifacts/{tracker.run_id}/artifacts"


# --- killed ------------------------------------------------------------------------------------------------------


def die(tracker: Tracker) -> None:
    """Lets go of a run as the end of its process does."""
    assert tracker._open is not None
    assert tracker._open._descriptor is not None
    os.close(tracker._open._descriptor)
    tracker._open._descriptor = None


def test_a_run_of_a_killed_process_is_ended_by_the_next_that_logs(store: Any, config: DictConfig) -> None:
    killed, alive = start_training(config), start_training(config)
    die(killed)
    resume_by_model(DIGEST, {})
    assert store.get_run(killed.run_id).info.status == "KILLED"
    assert store.get_run(alive.run_id).info.status == "RUNNING"
    alive.finish()
    assert store.get_run(alive.run_id).info.status == "FINISHED"
    assert not list(Path(".sightline/runs").iterdir())


def test_a_killed_training_goes_on_in_its_run(store: Any, config: DictConfig, project: Path) -> None:
    marker = project / "marker"
    killed = start_training(config, (), marker)
    killed.log_epoch({"train_loss": 1.0}, 0)
    die(killed)
    resume_by_model(DIGEST, {})
    assert store.get_run(killed.run_id).info.status == "KILLED"
    again = start_training(config, (), marker)
    assert again.run_id == killed.run_id
    assert store.get_run(again.run_id).info.status == "RUNNING"
    again.finish()
    assert store.get_run(again.run_id).info.status == "FINISHED"


def test_a_run_is_not_ended_in_another_store(
    store: Any,
    config: DictConfig,
    migrated: Path,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    killed = start_training(config)
    die(killed)
    with monkeypatch.context() as patch:
        (project / "second.db").write_bytes(migrated.read_bytes())
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project / 'second.db'}")
        resume_by_model(DIGEST, {})
    assert store.get_run(killed.run_id).info.status == "RUNNING"
    resume_by_model(DIGEST, {})
    assert store.get_run(killed.run_id).info.status == "KILLED"


KILLED = """
import os, signal
from pathlib import Path
from sightline.config.compose import compose
from sightline.tracking import start_training
start_training(compose([], Path(os.environ["CONF"])))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_a_run_of_a_process_killed_by_the_kernel_is_ended(store: Any, project: Path) -> None:
    environment = {**os.environ, "CONF": str(Path(__file__).parents[2] / "conf")}
    done = subprocess.run([sys.executable, "-c", KILLED], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert the_run(store).info.status == "RUNNING"
    resume_by_model(DIGEST, {})
    assert {run.info.status for run in all_runs(store)} == {"KILLED", "FINISHED"}
