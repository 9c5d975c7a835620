"""baseline: data/processed -> reports/baselines (simpler methods, scored on the test split), one MLflow run each."""

from __future__ import annotations

import sys
from pathlib import Path

from sightline.config.stage_runner import Context, stage_main
from sightline.core import cpu_threads, files, progress
from sightline.core.package_imports import loading
from sightline.datasets import data_settings
from sightline.stages.baseline.config import BaselineConfig

DATA = Path("data/processed")
RAW = Path("data/raw")
OUTPUT = Path("reports/baselines")


def run(config: BaselineConfig, context: Context) -> None:
    """Writes `reports/baselines`, completely or not at all."""
    with loading("scikit-learn"):  # imported here, so that --help and configuration errors are fast
        from sightline.datasets.processed_set import ProcessedSet
        from sightline.stages.baseline import console
        from sightline.stages.baseline.baseline_job import MethodResult
        from sightline.stages.baseline.stage import run_methods, team

    def report(result: MethodResult) -> None:
        progress.write_line(f"baseline: {console.method_line(result)}", sys.stdout)

    with team(config) as workers:  # before anything is read: see `team`
        if line := cpu_threads.idle("baseline.threads", config.threads, len(workers) or 1):
            progress.write_line(f"baseline: {line}", sys.stdout)
        data, out = ProcessedSet(context.root / DATA), context.output / OUTPUT
        scored = run_methods(data, config, out, context.root / RAW, workers, report)
    for line in console.method_lines(scored):
        progress.write_line(f"baseline: {line}", sys.stdout)
    if not scored:
        return

    with loading("MLflow"):  # after the results are written, because the import takes seconds
        from sightline import tracking
        from sightline.metrics.headline_metrics import headline, sentence
    progress.step("adding the runs to MLflow")

    made_with = data_settings.load_settings(context.root, data.digest)
    tracker: tracking.Tracker | None = None
    for each in scored:
        answers = out / f"{each.name}.parquet"
        tracker = tracking.baseline_run(each.name, context.config, each.parameters, answers, tracker, made_with)
        tracker.set_tags({tracking.DATA_TAG: data.digest})
        numbers = {f"test_{name}": value for name, value in headline(each.numbers).items()}
        seconds = {"fit_seconds": each.fit_seconds, "predict_seconds": each.predict_seconds}
        tracker.log_metrics({**numbers, **seconds, "megabytes": each.bytes / 1e6})
        tracker.log_text("metrics_detail.json", files.canonical_json(each.numbers))
        tracker.log_artifact(answers)
        tracker.describe(sentence(headline(each.numbers), f"{len(data.split('test')):,} test images"))
        tracker.finish()
    if tracker is not None:
        tracker.announce("baseline")


if __name__ == "__main__":
    stage_main("baseline", BaselineConfig, run)
