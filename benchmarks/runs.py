"""CPU time to list 200 runs with MLflow's `search_runs`, which its page also waits for, and with `sightline runs`.

    python benchmarks/runs.py [--before]

The runs are in a temporary database. Each has what a training run has in this project: the headline metrics, three
curves of 20 epochs, some of MLflow's system metrics, and 25 parameters. With `--before`, a run has 334 metrics and 140
parameters, as before decision 0090.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from sightline import tracking
from sightline.metrics.headline_metrics import NAMES

RUNS, EPOCHS, ROUNDS = 200, 20, 3
SYSTEM = ("cpu_utilization_percentage", "system_memory_usage_percentage", "disk_usage_percentage", "network_receive")
CURVES = ("train_loss", "val_loss", "val_accuracy")
HEADLINE = [*(f"test_{name}" for name in NAMES), "best_val_loss", "best_val_accuracy", "latency_ms", "megabytes"]
TABLE = "import sys; sys.argv[1:] = ['runs']; from sightline.cli import main; main()"


def fill(metrics: int, params: int) -> None:
    """Creates the runs.

    Args:
        metrics: Number of metrics per run, in addition to curves and system metrics.
        params: Number of parameters per run.
    """
    from mlflow.entities import Metric, Param

    client, experiment = tracking.connect()
    names = [*HEADLINE, *(f"test_more/{i}" for i in range(metrics - len(HEADLINE)))]
    for number in range(RUNS):
        run = client.create_run(experiment, run_name=f"cnn lr={number / 1000:g}").info.run_id
        values = [Metric(name, number / RUNS, 0, 0) for name in names]
        values += [Metric(f"system/{name}", number, 0, step) for name in SYSTEM for step in range(5)]
        values += [Metric(name, 1 / (step + 1), 0, step) for name in CURVES for step in range(EPOCHS)]
        settings = [Param(f"train.setting_{i}", str(number)) for i in range(params)]
        client.log_batch(run, values, settings[:100])
        client.log_batch(run, params=settings[100:])
        client.set_terminated(run)


def seconds(work: Callable[[], object]) -> float:
    """Returns the median CPU seconds of a call, including its child processes."""
    times = []
    for _ in range(ROUNDS):
        begun = os.times()
        work()
        times.append(sum(os.times()[:4]) - sum(begun[:4]))
    return statistics.median(times)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", action="store_true", help="use 334 metrics and 140 parameters per run")
    before = parser.parse_args().before
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{Path(folder) / 'mlflow.db'}"
        fill(*((334, 140) if before else (len(HEADLINE), 25)))
        client, experiment = tracking.connect()
        every = seconds(lambda: client.search_runs([experiment], max_results=1000))
        by_loss = ["metrics.best_val_loss"]
        best = seconds(lambda: client.search_runs([experiment], order_by=by_loss, max_results=1))
        table = seconds(lambda: subprocess.run([sys.executable, "-c", TABLE], check=True, capture_output=True))
    print(f"{RUNS} runs: search_runs of all {every:.2f} s, of the best {best:.3f} s; sightline runs {table:.2f} s")


if __name__ == "__main__":
    main()
