"""Sweeps: the cost of a job beyond its training, two jobs at a time, and a search compared with a grid.

    python benchmarks/sweep.py cost [--jobs 12]
    python benchmarks/sweep.py pair [--jobs 8]
    python benchmarks/sweep.py search [--source FOLDER] [--images 2800] [--epochs 5] [--seed 0 1 2] [--tpe-alone]

Cost: CPU seconds per job, compared with DVC's experiments and Hydra's own sweeper. Trainings are as short as possible
(120 digits, one epoch of the dense network), so nearly all of the measured time is overhead: the CPU time of a command
and all its children, divided by the number of jobs. This includes the start of a sweep (imports, a worktree, `dvc repro
preprocess`, `dvc commit` of the best job); the cost of one additional job is printed as well. Targets: at most 0.25 of
the cost of `dvc exp run --temp`, and at most 1.2 of the cost per job of Hydra's basic sweeper, which trains one job
after another in one process, has no data knobs, and does not remember finished jobs.

Pair: the wall-clock time of a sweep with two jobs at a time, relative to one job at a time, with one thread per job.
Target on two cores: 0.65.

Search: Fashion-MNIST (FOLDER has its IDX files), with about 1,200 training and 1,192 validation images, over learning
rate, weight decay, batch size and dropout. Compares a grid of 48 jobs, with learning rate and weight decay in steps of
a factor of 10 or more, with 24 jobs of TPE with the median pruner over the same ranges. TPE's first job is the first of
the grid. For each seed and search, a line shows the CPU seconds of the command (all processes, start included), and the
accuracy of the best job on the validation images, by which it was selected, and on the 10,000 test images, which
neither search uses. Another line shows the CPU seconds until TPE had a job as good as the grid's best on the validation
images. Target: at least the grid's accuracy on the test images in half of its CPU seconds, as medians over the seeds.
`--tpe-alone` omits the grid, for changes that do not affect the trainings and therefore the grid's accuracies.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import copies
import fashion
import psutil

SHARED = Path(os.environ.get("SIGHTLINE_SHARED_DATA", copies.ROOT / ".." / "shared" / "data"))
SWEEP = ("python", "-m", "pipeline.sweep", "-m")
KNOBS = {"limit: null ": "limit: 120 ", "max_epochs: 20 ": "max_epochs: 1 ", "model: cnn ": "model: dense "}
HYDRA = """
import sys
from pathlib import Path
import hydra
from hydra.core.hydra_config import HydraConfig
from sightline.config.compose import read_params, saved_overrides, typed
from sightline.core import terminal_log
from sightline.datasets import data_settings

def task(config):
    from sightline.stages.train.config import TrainConfig
    from sightline.stages.train.stage import TrainingRun
    from sightline.stages.train.tracked import train_tracked
    training = TrainingRun(Path("data/processed"), typed(TrainConfig, config.train, "train"))
    out = Path(HydraConfig.get().runtime.output_dir)
    made_with = data_settings.load_settings(Path(), training.data.digest)
    overrides = HydraConfig.get().overrides.task
    train_tracked(training, out / "models", out / "history.csv", config, overrides, made_with)

terminal_log.configure()
sys.argv[1:] = ["-m", *saved_overrides(read_params()), *sys.argv[1:]]
hydra.main(version_base="1.3", config_path=str(Path("conf").resolve()), config_name="config")(task)()
"""


def cpu(root: Path, *words: str) -> float:
    """Runs a command, and returns the CPU seconds of it and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    copies.run(root, *words)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def rates(first: int, jobs: int) -> str:
    """Returns learning rates that no other sweep of the benchmark uses."""
    return "train.lr=" + ",".join(f"{(first + i) / 10000:g}" for i in range(jobs))


def project(root: Path, edits: dict[str, str]) -> None:
    """Makes a copy of this project with changed settings, and commits it."""
    copies.make(root)
    params = root / "params.yaml"
    text = params.read_text()
    for before, after in edits.items():
        if before not in text:
            raise SystemExit(f"params.yaml has no {before!r} any more")
        text = text.replace(before, after, 1)
    params.write_text(text)
    copies.run(root, "git", "add", "--all")
    identity = ("-c", "user.name=benchmark", "-c", "user.email=benchmark@localhost")
    copies.run(root, "git", *identity, "commit", "--quiet", "--message", "the project")


def cost(root: Path, jobs: int) -> None:
    """Prints a line for each contender, and the ratios."""
    project(root, KNOBS)
    copies.run(root, "dvc", "repro", "train")
    few, many = cpu(root, *SWEEP, rates(10, 2)), cpu(root, *SWEEP, rates(20, jobs))
    ours, more = many / jobs, (many - few) / (jobs - 2)
    temp = cpu(root, "dvc", "exp", "run", "--temp", "train", "-S", "train.lr=0.004")
    (root / "hydra_sweep.py").write_text(HYDRA)
    theirs = cpu(root, "python", "hydra_sweep.py", rates(50, jobs)) / jobs
    print(f"train knobs, CPU seconds a job of {jobs}:")
    print(f"  pipeline.sweep         {ours:6.2f}   each further job {more:.2f}")
    print(f"  dvc exp run --temp     {temp:6.2f}   ratio {ours / temp:.2f}  (target 0.25)")
    print(f"  Hydra's basic sweeper  {theirs:6.2f}   ratio {ours / theirs:.2f}  (target 1.2)", flush=True)

    few = cpu(root, *SWEEP, f"preprocess.size={','.join(str(60 + i) for i in range(2))}")
    many = cpu(root, *SWEEP, f"preprocess.size={','.join(str(20 + i) for i in range(jobs))}")
    ours, more = many / jobs, (many - few) / (jobs - 2)
    temp = cpu(root, "dvc", "exp", "run", "--temp", "train", "-S", "preprocess.size=15")
    print(f"data knobs, CPU seconds a job of {jobs}, each with images of its own:")
    print(f"  pipeline.sweep         {ours:6.2f}   each further job {more:.2f}")
    print(f"  dvc exp run --temp     {temp:6.2f}   ratio {ours / temp:.2f}  (target 0.25)")


def pair(root: Path, jobs: int) -> None:
    """Prints the wall-clock time of a sweep with one job and with two jobs at a time."""
    project(root, {"max_epochs: 20 ": "max_epochs: 8 "})
    seconds = []
    for number in (1, 2):
        begun = time.monotonic()
        seeds = f"train.seed=range({number * 100},{number * 100 + jobs})"
        copies.run(root, *SWEEP, seeds, "++train.threads=1", f"sweep.jobs={number}")
        seconds.append(time.monotonic() - begun)
    one, two = seconds
    print(f"{jobs} jobs, a thread each: one by one {one:.1f} s, two at a time {two:.1f} s", end=", ")
    print(f"ratio {two / one:.2f}  (target 0.65)")


GRID = {
    "train.lr": "0.0001,0.001,0.01,0.1",
    "++train.optimizer_options.weight_decay": "0.0001,0.01",
    "train.batch_size": "32,128",
    "++train.model_options.dropout": "0,0.25,0.5",
}
JOBS = 24
"""Number of TPE's jobs."""
RANGES = {
    "train.lr": "tag(log,interval(1e-4,1e-1))",
    "++train.optimizer_options.weight_decay": "tag(log,interval(1e-4,1e-2))",
    "train.batch_size": "32,128",
    "++train.model_options.dropout": "interval(0.0,0.5)",
}


@dataclass(frozen=True)
class Search:
    """The outcome of a search.

    Attributes:
        ends: (CPU seconds until its end, validation accuracy) of each successful job, in order.
        used: CPU seconds of the whole command.
        test: Accuracy of the best job on the test images.
    """

    ends: list[tuple[float, float]]
    used: float
    test: float

    @property
    def best(self) -> float:
        """The best accuracy on the validation images."""
        return max(accuracy for _, accuracy in self.ends)

    def reached(self, accuracy: float) -> float | None:
        """The CPU seconds until a job reached the accuracy; None if none did."""
        return next((used for used, found in self.ends if found >= accuracy), None)


def search(root: Path, source: Path, images: int, epochs: int, seeds: list[int], tpe_alone: bool) -> None:
    """Prints the results and CPU time of the grid and of TPE with pruning, for each seed."""
    edits = {"source: digits ": "source: idx ", "path: null ": f"path: {source} ", "limit: null ": f"limit: {images} "}
    edits |= {"size: 16 ": "size: 28 ", "denoise: gaussian ": "denoise: none ", "segment: threshold ": "segment: none "}
    edits |= {"enhance: autocontrast ": "enhance: none ", "fold: null ": "val_fraction: 0.5 "}
    edits |= {"model: cnn ": "model: cnn\n  model_options: {width: 16, dropout: 0.0} "}
    edits |= {"optimizer: adamw ": "optimizer: adamw\n  optimizer_options: {weight_decay: 0.0001} "}
    edits |= {"augment: digits ": "augment: none ", "lr: 0.002 ": "lr: 0.0001 "}
    edits |= {"max_epochs: 20 ": f"max_epochs: {epochs}\n  threads: 1\n  monitor: val_accuracy "}
    project(root, edits)
    copies.run(root, "dvc", "repro", "preprocess")
    tests = fashion.processed(root.parent / "fashion")
    tpe_words = [*(f"{key}={values}" for key, values in RANGES.items()), "sweep.sampler=tpe", "sweep.pruner=median"]
    grid_words = [f"{key}={values}" for key, values in GRID.items()]
    rows = []
    for seed in seeds:
        # TPE runs first: its first job is also one of the grid's, which then reuses the result.
        tpe = searched(root, tests, [*tpe_words, f"sweep.n_trials={JOBS}", f"sweep.seed={seed}", f"train.seed={seed}"])
        if tpe_alone:
            print_search(seed, "TPE", tpe)
            continue
        grid = searched(root, tests, [*grid_words, f"train.seed={seed}"])
        reached = tpe.reached(grid.best)
        rows.append((grid, tpe, math.inf if reached is None else reached))
        print_search(seed, "grid", grid)
        print_search(seed, "TPE", tpe)
        print(f"seed {seed}: TPE as good on validation {f'in {reached:.0f} s' if reached else 'never'}", flush=True)
    if not rows:
        return
    for name, number in (("grid", 0), ("TPE", 1)):
        used, test = (statistics.median(getattr(row[number], field) for row in rows) for field in ("used", "test"))
        print(f"medians: {name:4} {used:4.0f} s, test {test:.4f}")
    whole = statistics.median(tpe.used / grid.used for grid, tpe, _ in rows)
    first = statistics.median(reached / grid.used for grid, _, reached in rows)
    print(f"TPE's CPU seconds to the grid's: {whole:.2f}  (target 0.5); until as good on validation {first:.2f}")


def print_search(seed: int, name: str, found: Search) -> None:
    """Prints the result of a search, and the end of each job that was better than all before it."""
    accuracy = f"validation {found.best:.4f}, test {found.test:.4f}"
    print(f"seed {seed}: {name:4} {found.used:4.0f} s, {accuracy}, {len(found.ends)} jobs to the end:", end=" ")
    better = [end for i, end in enumerate(found.ends) if end[1] > max((best for _, best in found.ends[:i]), default=0)]
    print(", ".join(f"{value:.4f} after {used:.0f} s" for used, value in better), flush=True)


def searched(root: Path, tests: Any, words: list[str]) -> Search:
    """Runs a sweep, and records the CPU seconds of all its processes at the end of each job."""
    import mlflow

    from sightline.models.inference import Predictor

    earlier = accuracies(root)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = psutil.Popen(
        [sys.executable, *SWEEP[1:], *words, "sweep.metric=val_accuracy"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root / "src"), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    ends, lines = [], []
    for line in process.stdout:
        lines.append(line)
        if match := re.match(r"\[ *\d+/\d+\] .*  val_accuracy ([\d.]+)  ", line):
            ends.append((tree_seconds(process), float(match[1])))
    if process.wait() not in (0, 1):  # 1: a job diverged, which is a valid result
        raise SystemExit("".join(lines[-20:]))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    runs = {run: accuracy for run, accuracy in accuracies(root).items() if run not in earlier}
    uri = f"sqlite:///{root / 'mlflow.db'}"
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(root):
        best = mlflow.artifacts.download_artifacts(
            run_id=max(runs, key=lambda run: runs[run]), artifact_path="model", dst_path=folder, tracking_uri=uri
        )
        predictor = Predictor.load(Path(best))
    split, right = tests.split("val"), 0
    for start in range(0, len(split), 500):
        part = slice(start, start + 500)
        right += int((predictor(split.images(part)).argmax(1) == split.labels[part]).sum())
    return Search(ends, used, right / len(split))


def tree_seconds(process: Any) -> float:
    """Returns the CPU seconds of a process and its descendants, including ended ones that were waited for."""
    found = 0.0
    for each in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            found += sum(each.cpu_times()[:4])
    return found


def accuracies(root: Path) -> dict[str, float]:
    """Returns the best validation accuracy of each finished training, by run id."""
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    runs = client.search_runs([each.experiment_id for each in client.search_experiments()], max_results=1000)
    found = {
        run.info.run_id: run.data.metrics.get("best_val_accuracy") for run in runs if run.info.status == "FINISHED"
    }
    return {run: value for run, value in found.items() if value is not None}


def main() -> None:
    """Runs a measurement in a copy of the project."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("cost").add_argument("--jobs", type=int, default=12)
    verbs.add_parser("pair").add_argument("--jobs", type=int, default=8)
    searching = verbs.add_parser("search")
    searching.add_argument("--source", type=Path, default=SHARED / "fashion-mnist")
    searching.add_argument("--images", type=int, default=2800)
    searching.add_argument("--epochs", type=int, default=5)
    searching.add_argument("--seed", type=int, nargs="+", default=[0, 1, 2])
    searching.add_argument("--tpe-alone", action="store_true")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "project"
        if words.verb == "search":
            search(root, words.source.resolve(), words.images, words.epochs, words.seed, words.tpe_alone)
        else:
            {"cost": cost, "pair": pair}[words.verb](root, words.jobs)


if __name__ == "__main__":
    main()
