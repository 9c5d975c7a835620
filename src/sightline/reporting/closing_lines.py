"""The final lines of a pipeline run: the model's accuracy, where to find results, and what to do next."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sightline.core import files
from sightline.core.json_fields import parse_object
from sightline.datasets import predictions
from sightline.metrics import paired
from sightline.metrics.intervals import wilson
from sightline.reporting.formatting import score

PREDICTIONS = Path("reports/predictions.parquet")
BASELINES = Path("reports/baselines/baselines.json")
REPORT = Path("reports/report.html")
MODEL = Path("models/model.safetensors")
BUNDLE = Path("models/bundle")
DVC_LOCK = Path("dvc.lock")

ASIDE = "SIGHTLINE_CLOSING"
"""Environment variable that tells stages that the command running them prints these lines itself."""
_KEPT = files.STATE / "mlflow-address.json"


def of_stage(stage: str) -> list[str]:
    """Returns the lines if DVC runs the stage and no further one follows; else an empty list."""
    last = stage == "export" or not _export_follows()
    return project_lines() if os.environ.get("DVC_STAGE") and ASIDE not in os.environ and last else []


def project_lines() -> list[str]:
    """Returns the lines about the project in the current folder; an empty list if no model has been evaluated."""
    if not PREDICTIONS.is_file() or not MODEL.is_file():
        return []
    network = predictions.load_predictions(PREDICTIONS)
    right, images = int(network.correct.sum()), len(network.ids)
    low, high = wilson(right, images)
    best, worse = _best_baseline(network)
    return [
        f"accuracy   {score(right / images)} (95 % interval {score(low)} to {score(high)}) on {images:,} test images",
        f"baselines  {best}",
        f"report     {REPORT}",
        f"MLflow     {_address()}",
        f"next       {_next(worse)}",
    ]


def _best_baseline(network: predictions.Predictions) -> tuple[str, bool]:
    """Returns a sentence on the best baseline, and whether it is significantly better than the network."""
    methods = parse_object(BASELINES.read_bytes()).get("methods", {}) if BASELINES.is_file() else {}
    if not methods:
        return "none requested (baseline.methods)", False
    name = max(methods, key=lambda method: float(methods[method]["accuracy"]))
    other = predictions.load_predictions(BASELINES.with_name(f"{name}.parquet"))
    lead = f"the best is {name}, {score(float(methods[name]['accuracy']))}"
    if other.ids != network.ids:
        return f"{lead}, on other images", False
    difference, low, high = paired.difference(network.correct, other.correct)
    chance = "" if low > 0 or high < 0 else ", which may be chance"
    if not difference:
        return f"{lead}: the network is no better", high < 0
    verdict = "better" if difference > 0 else "worse"
    return f"{lead}: the network is {verdict} by {abs(100 * difference):.1f} points{chance}", high < 0


def _next(worse: bool) -> str:
    if worse:
        return "a simpler method is better: look at the network's input with sightline preview"
    if not (BUNDLE / "manifest.json").is_file():
        return "dvc repro export    # the bundle that predicts and serves"
    return f"sightline serve {BUNDLE}    # try it on your own images"


def _address() -> str:
    """Returns the address of the model's run; cached per model, since MLflow takes seconds to import."""
    store = hashlib.sha256(os.environ.get("MLFLOW_TRACKING_URI", "").encode()).hexdigest()
    key = {"model": files.sha256_file(MODEL), "store": store}
    kept: Mapping[str, Any] = {}
    if _KEPT.is_file():
        kept = json.loads(_KEPT.read_bytes())
    if {name: kept.get(name) for name in key} == key:
        return str(kept["address"])
    from sightline import tracking
    from sightline.tracking import run_view

    try:
        with tracking.mlflow_calls():
            client, experiment = tracking.connect()
            run = tracking.run_of_model(client, experiment, key["model"], {})
    except tracking.TrackingError:
        return "unreachable; sightline sync sends what is queued"
    address = run_view.run_address(experiment, run)
    files.write_json(_KEPT, {**key, "address": address})
    return address


def _export_follows() -> bool:
    """Returns whether DVC will run `export` next, because its dependencies or parameters have changed."""
    from ruamel.yaml import YAML

    yaml = YAML(typ="safe", pure=True)
    try:
        made = yaml.load(DVC_LOCK)["stages"]["export"]
    except (FileNotFoundError, KeyError, TypeError):
        return True
    for entry in made["deps"]:
        path = Path(entry["path"])
        if path.is_file() and hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() != entry["md5"]:
            return True
    current = {file: yaml.load(Path(file)) for file in made["params"]}
    return any(current[file].get(name) != value for file, of in made["params"].items() for name, value in of.items())
