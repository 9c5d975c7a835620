"""The cost of a sweep's job beyond its training, in CPU seconds, beside DVC's experiments and Hydra's own sweeper.

    python benchmarks/sweep.py [--jobs 6]

Trainings are as short as can be (120 digits, one epoch of the dense network), so that what is counted is nearly all
overhead: the CPU time of a command and all its children, divided by its jobs. A sweep's start (imports, a worktree,
`dvc repro preprocess`, `dvc commit` of the best) is counted and divided as well; beside it, what one job more costs.

Targets: at most 0.25 of `dvc exp run --temp` a job, at most 1.2 of Hydra's basic sweeper, which trains one job after
another in one process, knows no data knobs, and forgets what it has done.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
from pathlib import Path

import copies

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


def main() -> None:
    """Prints a line a contender, and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=6, help="jobs of a sweep")
    jobs = parser.parse_args().jobs
    sweep = ("python", "-m", "pipeline.sweep", "-m")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "project"
        copies.make(root)
        params = root / "params.yaml"
        text = params.read_text()
        for before, after in KNOBS.items():
            text = text.replace(before, after, 1)
        params.write_text(text)
        copies.run(root, "git", "add", "--all")
        identity = ("-c", "user.name=benchmark", "-c", "user.email=benchmark@localhost")
        copies.run(root, "git", *identity, "commit", "--quiet", "--message", "the project")
        copies.run(root, "dvc", "repro", "train")

        few, many = cpu(root, *sweep, rates(10, 2)), cpu(root, *sweep, rates(20, jobs))
        ours, more = many / jobs, (many - few) / (jobs - 2)
        temp = cpu(root, "dvc", "exp", "run", "--temp", "train", "-S", "train.lr=0.004")
        (root / "hydra_sweep.py").write_text(HYDRA)
        theirs = cpu(root, "python", "hydra_sweep.py", rates(50, jobs)) / jobs
        print(f"train knobs, CPU seconds a job of {jobs}:")
        print(f"  pipeline.sweep         {ours:6.2f}   one job more {more:.2f}")
        print(f"  dvc exp run --temp     {temp:6.2f}   ratio {ours / temp:.2f}  (target 0.25)")
        print(f"  Hydra's basic sweeper  {theirs:6.2f}   ratio {ours / theirs:.2f}  (target 1.2)", flush=True)

        sizes = ",".join(str(10 + 2 * i) for i in range(3))
        ours = cpu(root, *sweep, f"preprocess.size={sizes}") / 3
        temp = cpu(root, "dvc", "exp", "run", "--temp", "train", "-S", "preprocess.size=20")
        print("data knobs, CPU seconds a job of 3:")
        print(f"  pipeline.sweep         {ours:6.2f}")
        print(f"  dvc exp run --temp     {temp:6.2f}   ratio {ours / temp:.2f}  (target 0.25)")


if __name__ == "__main__":
    main()
