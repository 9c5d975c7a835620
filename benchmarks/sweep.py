"""Sweeps measured: the cost of a job beyond its training, two jobs at a time, and a search against the grid.

    python benchmarks/sweep.py cost [--jobs 12]
    python benchmarks/sweep.py pair [--jobs 8]
    python benchmarks/sweep.py search [--source FOLDER] [--images 3000] [--epochs 8] [--seeds 3]

Cost: CPU seconds a job, beside DVC's experiments and Hydra's own sweeper. Trainings are as short as can be (120 digits,
one epoch of the dense network), so that what is counted is nearly all overhead: the CPU time of a command and all its
children, divided by its jobs. A sweep's start (imports, a worktree, `dvc repro preprocess`, `dvc commit` of the best)
is counted and divided as well; beside it, what one job more costs. Targets: at most 0.25 of `dvc exp run --temp` a job,
at most 1.2 of Hydra's basic sweeper, which trains one job after another in one process, knows no data knobs, and
forgets what it has done.

Pair: the wall time of a sweep, two jobs at a time and one by one, of one thread each. Target on two cores: 0.65.

Search: the default network on a subset of Fashion-MNIST (FOLDER has its IDX files), over learning rate, batch size and
dropout. The grid of 24 jobs against TPE's 12 over the same ranges with the median pruner; validation accuracy of the
best and CPU seconds of the whole command, a line a seed, and the medians. Target: as accurate in half the time.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import tempfile
import time
from pathlib import Path

import copies

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
    """Returns learning rates that no other sweep of the benchmark has."""
    return "train.lr=" + ",".join(f"{(first + i) / 10000:g}" for i in range(jobs))


def project(root: Path, edits: dict[str, str]) -> None:
    """Makes a copy of this project with other settings, and commits it."""
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
    """Prints a line a contender, and the ratios."""
    project(root, KNOBS)
    copies.run(root, "dvc", "repro", "train")
    few, many = cpu(root, *SWEEP, rates(10, 2)), cpu(root, *SWEEP, rates(20, jobs))
    ours, more = many / jobs, (many - few) / (jobs - 2)
    temp = cpu(root, "dvc", "exp", "run", "--temp", "train", "-S", "train.lr=0.004")
    (root / "hydra_sweep.py").write_text(HYDRA)
    theirs = cpu(root, "python", "hydra_sweep.py", rates(50, jobs)) / jobs
    print(f"train knobs, CPU seconds a job of {jobs}:")
    print(f"  pipeline.sweep         {ours:6.2f}   one job more {more:.2f}")
    print(f"  dvc exp run --temp     {temp:6.2f}   ratio {ours / temp:.2f}  (target 0.25)")
    print(f"  Hydra's basic sweeper  {theirs:6.2f}   ratio {ours / theirs:.2f}  (target 1.2)", flush=True)

    few = cpu(root, *SWEEP, f"preprocess.size={','.join(str(60 + i) for i in range(2))}")
    many = cpu(root, *SWEEP, f"preprocess.size={','.join(str(20 + i) for i in range(jobs))}")
    ours, more = many / jobs, (many - few) / (jobs - 2)
    temp = cpu(root, "dvc", "exp", "run", "--temp", "train", "-S", "preprocess.size=15")
    print(f"data knobs, CPU seconds a job of {jobs}, each with images of its own:")
    print(f"  pipeline.sweep         {ours:6.2f}   one job more {more:.2f}")
    print(f"  dvc exp run --temp     {temp:6.2f}   ratio {ours / temp:.2f}  (target 0.25)")


def pair(root: Path, jobs: int) -> None:
    """Prints the wall time of a sweep, one by one and two at a time."""
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


def search(root: Path, source: Path, images: int, epochs: int, seeds: int) -> None:
    """Prints the best accuracy and the CPU time of the grid and of TPE with pruning, for each seed."""
    edits = {"source: digits ": "source: idx ", "path: null ": f"path: {source} ", "limit: null ": f"limit: {images} "}
    edits |= {"size: 16 ": "size: 28 ", "denoise: gaussian ": "denoise: none ", "segment: threshold ": "segment: none "}
    edits |= {"augment: digits ": "augment: none ", "max_epochs: 20 ": f"max_epochs: {epochs} "}
    project(root, edits)
    copies.run(root, "dvc", "repro", "preprocess")
    grid = ["train.lr=0.0003,0.001,0.003,0.006,0.012,0.03", "train.batch_size=32,128", "++train.model.dropout=0,0.3"]
    tpe = ["train.lr=tag(log,interval(3e-4,3e-2))", *grid[1:], "sweep.sampler=tpe", "sweep.n_trials=12"]
    tpe.append("sweep.pruner=median")
    rows = []
    for seed in range(seeds):
        row = []
        for words in (grid, [*tpe, f"sweep.seed={seed}"]):
            before = set(accuracies(root))
            used = cpu(root, *SWEEP, *words, f"train.seed={seed}", "sweep.metric=val_accuracy")
            row += [max(value for run, value in accuracies(root).items() if run not in before), used]
        rows.append(row)
        print("seed {}: grid {:.4f} in {:.0f} s, TPE {:.4f} in {:.0f} s".format(seed, *row), flush=True)
    grid_best, grid_used, tpe_best, tpe_used = (statistics.median(column) for column in zip(*rows, strict=True))
    print(f"medians: grid {grid_best:.4f} in {grid_used:.0f} s, TPE {tpe_best:.4f} in {tpe_used:.0f} s", end=", ")
    print(f"ratio {tpe_used / grid_used:.2f}  (target 0.5)")


def accuracies(root: Path) -> dict[str, float]:
    """Returns the best validation accuracy of every finished training, by its run's id."""
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    runs = client.search_runs([each.experiment_id for each in client.search_experiments()], max_results=1000)
    found = {
        run.info.run_id: run.data.metrics.get("best_val_accuracy") for run in runs if run.info.status == "FINISHED"
    }
    return {run: value for run, value in found.items() if value is not None}


def main() -> None:
    """Measures in a copy of the project."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("cost").add_argument("--jobs", type=int, default=12)
    verbs.add_parser("pair").add_argument("--jobs", type=int, default=8)
    searching = verbs.add_parser("search")
    searching.add_argument("--source", type=Path, default=SHARED / "fashion-mnist")
    for name, default in (("images", 3000), ("epochs", 8), ("seeds", 3)):
        searching.add_argument(f"--{name}", type=int, default=default)
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "project"
        if words.verb == "search":
            search(root, words.source.resolve(), words.images, words.epochs, words.seeds)
        else:
            {"cost": cost, "pair": pair}[words.verb](root, words.jobs)


if __name__ == "__main__":
    main()
