"""The MLflow run of a sweep, with a child run for each job."""

from __future__ import annotations

import atexit
import logging
import os
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from omegaconf import DictConfig

from sightline.core import credentials
from sightline.tracking.mlflow_errors import TrackingError, mlflow_calls
from sightline.tracking.mlflow_store import OVERRIDES_TAG, SWEEP_VARIABLE, connect, provenance
from sightline.tracking.runs import start_run
from sightline.tracking.tracker import Tracker

log = logging.getLogger(__name__)


class SweepRun(Callback):
    """Hydra's callback for a sweep: the parent run of its jobs' runs."""

    def __init__(self) -> None:
        self._tracker: Tracker | None = None

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Makes the parent; its id reaches the jobs, in whatever process, by an environment variable."""
        given = OverridesParser.create().parse_overrides(list(config.hydra.overrides.task))
        overrides = [credentials.mask(str(o.input_line)) for o in given if o.is_sweep_override()]
        tags, name = {**provenance(), "sightline.sweep": "true"}, "sweep " + " ".join(overrides)
        tracker = start_run(tags, name)
        if tracker.run_id is not None:
            os.environ[SWEEP_VARIABLE] = tracker.run_id
            self._tracker = tracker
            atexit.register(self._stop)  # Hydra calls nothing back when a sweep is interrupted
        tracker.log_params({f"sweep.{i}": o for i, o in enumerate(overrides)})

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Ends the parent, with the best child's metrics as its own."""
        tracker, self._tracker = self._tracker, None
        parent = os.environ.pop(SWEEP_VARIABLE, None)
        if tracker is None or parent is None:
            return
        try:
            with mlflow_calls():
                client, experiment = connect()
                wanted = f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{parent}'"
                children = client.search_runs([experiment], wanted, max_results=1000)
        except TrackingError as error:
            tracker.give_up(error)
            tracker.close()  # the next command that reaches MLflow ends the run
            return
        monitor = config.train.monitor
        done = [run for run in children if f"best_{monitor}" in run.data.metrics]
        if done:
            sign = 1 if monitor.endswith("loss") else -1
            best = min(done, key=lambda run: sign * run.data.metrics[f"best_{monitor}"])
            metrics = {k: v for k, v in best.data.metrics.items() if k.startswith("best_")}
            tracker.log_metrics(metrics)
            name = best.data.tags.get(OVERRIDES_TAG, best.info.run_name)
            tracker.set_tags({"sightline.best_child": best.info.run_id, "sightline.best_name": name})
            numbers = "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())
            log.info("sweep: %d of %d jobs done; best: %s  %s", len(done), len(children), name, numbers)
        tracker.finish("FINISHED" if len(done) == len(children) else "FAILED")

    def _stop(self) -> None:
        tracker, self._tracker = self._tracker, None
        if tracker is not None:
            tracker.finish("KILLED")
