"""The executors: the same job, with the same result, wherever it runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from sightline.core import code_digest, files
from sightline.sweep import executors, fork_server, slots, warm_process
from sightline.sweep.executors import LocalPlace
from sightline.sweep.job import JobFactory, JobTask
from sightline.sweep.options import LocalExecutor, Option, RayExecutor, SlurmExecutor
from tests.stages.train import small

ROOT = Path(__file__).parents[2]
EXECUTORS = [
    LocalExecutor("local"),
    SlurmExecutor("slurm", None, 10, 1, 0, 4, "local"),
    pytest.param(RayExecutor("ray", None, 1, 0.0), marks=pytest.mark.full),
]


@pytest.fixture
def task(project: Path) -> JobTask:
    """A job of a second, with images that are there."""
    slot = project / ".dvc/tmp/sweeps/one/data"
    small.processed_set(slot / "data/processed")
    (slot / "src").symlink_to(ROOT / "src")
    job = JobFactory().job(["train/model=dense", "train/trainer=cpu", "train.max_epochs=1", "++train.threads=1"])
    return JobTask(
        job=job,
        slot=slot,
        output=project / "out",
        answers=project / "out/answers.parquet",
        log=project / "out/log.txt",
        tags={"sightline.sweep_job": job.digest},
        measure_latency=True,
        runs=f"sqlite:///{project}/mlflow.db",
        trial=None,
    )


@pytest.mark.slow
@pytest.mark.parametrize("executor", EXECUTORS, ids=lambda executor: executor.name)
def test_a_job_trains_in_its_slot_wherever_it_runs(
    task: JobTask, executor: Option, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    (place,) = executors.places(executor, 1)
    try:
        outcome = place.run(task)
    finally:
        place.close()
    assert outcome.state == "complete", outcome.reason + task.log.read_text()
    assert outcome.result["validation_images"] == 30
    assert outcome.result["latency_ms"] > 0
    assert outcome.result["val_loss"] == pytest.approx(1.061, abs=0.01)
    assert task.answers.is_file()
    assert "epoch   1/1" in task.log.read_text()


def test_a_process_that_dies_is_a_failed_job_and_the_next_has_another(
    task: JobTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = task.slot / "src"
    package.unlink()
    shutil.copytree(ROOT / "src", package)
    (package / "sightline/sweep/job_runner.py").write_text(
        "import os\n\ndef run_job(task):\n    os.kill(os.getpid(), 9)\n"
    )
    monkeypatch.setattr(warm_process, "MODULES", ())
    place = LocalPlace(None)
    for _ in range(2):
        outcome = place.run(task)
        assert (outcome.state, outcome.reason) == ("failed", "its process ended with signal SIGKILL; see out/log.txt")
    place.close()


@pytest.mark.full
@pytest.mark.slow
def test_where_a_fork_cannot_go_on_python_begins_anew(task: JobTask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fork_server, "FRESH", True)
    place = LocalPlace(None)
    try:
        assert place.run(task).state == "complete", task.log.read_text()
    finally:
        place.close()


def test_each_of_several_jobs_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert [place._gpu for place in executors.places(LocalExecutor("local"), 3)] == ["2", "5", "2"]  # type: ignore[attr-defined]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert [place._gpu for place in executors.places(LocalExecutor("local"), 2)] == [None, None]  # type: ignore[attr-defined]


def test_a_slot_knows_of_the_code_what_is_the_same_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    slot = tmp_path / ".dvc/tmp/sweeps/one"
    for folder in (tmp_path, slot):
        (folder / "src").mkdir(parents=True)
        for name in ("same.py", "other.py"):
            (folder / "src" / name).write_text(f"{name} in {folder}" if name == "other.py" else name)
    stamps = {str(path): [path.stat().st_mtime_ns, path.stat().st_size, "digest", []] for path in Path("src").iterdir()}
    elsewhere = {"/elsewhere/same.py": [0, 0, "digest", []]}
    files.write_json(code_digest.MEMORY, {"by": "this", "files": {**stamps, **elsewhere}})
    slots.carry_code_memory(slot)
    status = (slot / "src/same.py").stat()
    carried = {"src/same.py": [status.st_mtime_ns, status.st_size, "digest", []]}
    assert json.loads((slot / code_digest.MEMORY).read_bytes()) == {"by": "this", "files": carried}
