"""evaluate: the model and the test split -> reports/ (metrics, plots, figures, the report), added to its MLflow run."""

from __future__ import annotations

import sys
from pathlib import Path

from sightline.config.stage_runner import Context, stage_main
from sightline.core import progress
from sightline.core.package_imports import loading
from sightline.stages.evaluate.config import EvaluateConfig

DATA = Path("data/processed")
MODEL = Path("models")
RAW = Path("data/raw")
HISTORY = Path("reports/history.csv")
BASELINES = Path("reports/baselines/baselines.json")
OUTPUT = Path("reports")


def run(config: EvaluateConfig, context: Context) -> None:
    """Scores the test split once, and writes all results and the report."""
    with loading("PyTorch"):
        from sightline.datasets.processed_set import ProcessedSet
        from sightline.models.inference import Predictor
        from sightline.reporting import closing_lines
        from sightline.stages.evaluate import stage
        from sightline.stages.evaluate.console import evaluation_lines
        from sightline.stages.evaluate.explain import explainer
        from sightline.stages.evaluate.novelty_measurement import Embedder
        from sightline.stages.evaluate.tracked import log_evaluation

    predictor = Predictor.load(context.root / MODEL, config.tta)
    data = ProcessedSet(context.root / DATA)
    predictor.check_classes(data.classes)
    root, out = context.root, context.output / OUTPUT
    found = stage.evaluate_split(
        predictor,
        data,
        config=config,
        out=out,
        history=root / HISTORY,
        model_info=predictor.info.to_json(),
        raw=root / RAW,
        baselines=root / BASELINES,
        explainer=explainer(predictor.classifier, data.shape) if config.explain else None,
        embedder=Embedder.of(predictor),
    )
    progress.step("adding to the run in MLflow")
    times = log_evaluation(found, out, context.config, predictor.info.weights_sha256, data)
    for line in evaluation_lines(found, times):
        progress.write_line(f"evaluate: {line}", sys.stdout)
    progress.write_line(f"evaluate: see {out / stage.REPORT}", sys.stdout)
    for line in closing_lines.of_stage("evaluate"):
        progress.write_line(line, sys.stdout)


if __name__ == "__main__":
    stage_main("evaluate", EvaluateConfig, run)
