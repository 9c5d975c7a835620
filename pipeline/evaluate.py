"""evaluate: the model and the test split -> reports/ (metrics, plots, figures, the report), added to its MLflow run."""

from __future__ import annotations

from pathlib import Path

from sightline.config import Context, stage_main
from sightline.evaluate.config import EvaluateConfig

RAW = Path("data/raw")
DATA = Path("data/processed")
MODEL = Path("models")
HISTORY = Path("reports/history.csv")
OUTPUT = Path("reports")


def run(config: EvaluateConfig, context: Context) -> None:
    """Scores the test split once and writes everything that is to be known about it."""
    from sightline import tracking
    from sightline.evaluate.explain import explainer
    from sightline.evaluate.stage import FIGURES, METRICS, PREDICTIONS, REPORT, evaluate_split
    from sightline.models.inference import Predictor
    from sightline.shards import ProcessedSet

    predictor = Predictor.load(context.root / MODEL)
    data = ProcessedSet(context.root / DATA)
    predictor.check_classes(data.classes)
    out = context.output / OUTPUT
    history = context.root / HISTORY
    metrics = evaluate_split(
        predictor,
        data,
        config=config,
        out=out,
        history=history,
        raw=context.root / RAW,
        explainer=explainer(predictor.classifier, data.shape) if config.explain else None,
        model_info=predictor.info,
    )
    print(f"evaluate: accuracy {metrics['accuracy']:.4f} on {len(data.split('test'))} test images; see {out / REPORT}")
    tracker = tracking.resume_by_model(predictor.info["weights_sha256"], {})
    tracker.log_metrics({f"test_{name}": value for name, value in metrics.items()})
    for name in (METRICS, PREDICTIONS, REPORT):
        tracker.log_artifact(out / name)
    tracker.log_artifact(out / FIGURES, FIGURES)


if __name__ == "__main__":
    stage_main("evaluate", EvaluateConfig, run)
