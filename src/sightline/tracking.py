"""Everything that speaks to MLflow's runs; `registry.py` speaks to its registered models, and nothing else to either.

A training is a run; evaluation and export find it by the model's digest (a tag) and add to it. A sweep is a parent
run with a child for each job. MLflow never changes a result: where it cannot be reached, the stage warns and goes on.
"""

from __future__ import annotations

import copy
import functools
import getpass
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

# Before mlflow is imported: no usage reports, and seconds instead of minutes until a dead server is given up.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")

import mlflow
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT, MLFLOW_PARENT_RUN_ID, MLFLOW_SOURCE_NAME, MLFLOW_USER
from omegaconf import AnyNode, Container, DictConfig, OmegaConf
from requests.exceptions import RequestException
from sqlalchemy.exc import SQLAlchemyError

from sightline import files, secrets

EXPERIMENT = "sightline"
MODEL_TAG = "sightline.model_sha256"
DATA_TAG = "sightline.data_sha256"
SWEEP_VARIABLE = "SIGHTLINE_SWEEP_RUN"
FAILURES = (MlflowException, RequestException, SQLAlchemyError, OSError)
MAX_PARAM_LENGTH = 6000

P = ParamSpec("P")


def connect() -> tuple[mlflow.MlflowClient, str]:
    """Connects to the tracking store: MLFLOW_TRACKING_URI, or SQLite in the project's root.

    Returns:
        A client and the id of the experiment (MLFLOW_EXPERIMENT_NAME, or "sightline").
    """
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
    # Two processes that make the database, or the experiment, at the same time would trip over each other.
    with files.waiting_lock("mlflow"):
        root = _project()
        mlflow.set_tracking_uri(uri or f"sqlite:///{root / 'mlflow.db'}")
        client = mlflow.MlflowClient()
        experiment = client.get_experiment_by_name(name)
        if experiment is not None:
            return client, str(experiment.experiment_id)
        # A server keeps artifacts where it was told to; beside the embedded store they are a folder.
        location = None if uri else str(root / "mlartifacts")
        kind = {"mlflow.experimentKind": "custom_model_development"}  # the web page opens on runs, not on chat traces
        return client, str(client.create_experiment(name, artifact_location=location, tags=kind))


def _project() -> Path:
    """Returns the project's root, relative where it is this folder.

    `dvc exp run --temp` and DVC's queue run in a copy below `.dvc/tmp`, which is removed afterwards.
    """
    here = Path.cwd()
    inside = next((parent for parent in here.parents if parent.name == ".dvc"), None)
    return Path() if inside is None else inside.parent


def _safely(method: Callable[Concatenate[Tracker, P], None]) -> Callable[Concatenate[Tracker, P], None]:
    """Makes a failure to log a warning, once: later calls do nothing."""

    @functools.wraps(method)
    def guarded(self: Tracker, /, *args: P.args, **kwargs: P.kwargs) -> None:
        if self.run_id is None:
            return
        try:
            method(self, *args, **kwargs)
        except FAILURES as error:
            self.give_up(error)

    return guarded


class Tracker:
    """One MLflow run to log to; does nothing once the store has failed.

    Args:
        client: A client, or None where there is no store to log to.
        run_id: The run's id, or None where there is no store to log to.
        logged_epochs: Epochs whose metrics the run already has.
    """

    def __init__(
        self, client: mlflow.MlflowClient | None, run_id: str | None, logged_epochs: Collection[int] = ()
    ) -> None:
        self._client = client
        self.run_id = run_id
        self._logged_epochs = set(logged_epochs)
        self._monitor: SystemMetricsMonitor | None = None

    @property
    def client(self) -> mlflow.MlflowClient:
        """The client; only to be used while `run_id` is not None."""
        if self._client is None:
            raise RuntimeError("not connected")
        return self._client

    def give_up(self, error: Exception) -> None:
        """Warns and stops logging."""
        first_line = secrets.mask(str(error)).strip().splitlines()[:1]
        print(
            f"tracking: MLflow failed ({type(error).__name__}: {''.join(first_line)[:200]}); "
            "the stage goes on without it, its outputs are complete",
            file=sys.stderr,
        )
        self.run_id = None

    @_safely
    def log_params(self, params: Mapping[str, str]) -> None:
        """Logs parameters; a value that MLflow would refuse for its length is cut."""
        entities = [Param(name, value[:MAX_PARAM_LENGTH]) for name, value in params.items()]
        for start in range(0, len(entities), 100):  # MLflow's limit for a request
            self.client.log_batch(str(self.run_id), params=entities[start : start + 100])

    @_safely
    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Logs metrics of one step, in one request a thousand."""
        now = int(time.time() * 1000)
        entities = [Metric(name, value, now, step) for name, value in metrics.items()]
        for start in range(0, len(entities), 1000):
            self.client.log_batch(str(self.run_id), metrics=entities[start : start + 1000])

    def log_epoch(self, metrics: Mapping[str, float], epoch: int) -> None:
        """Logs an epoch's metrics, unless an interrupted run of this training already has."""
        if epoch not in self._logged_epochs:
            self._logged_epochs.add(epoch)
            self.log_metrics(metrics, epoch)

    @_safely
    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Sets tags."""
        self.client.log_batch(str(self.run_id), tags=[RunTag(name, value) for name, value in tags.items()])

    @_safely
    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Logs a file, or a folder with all that is in it."""
        if path.is_dir():
            self.client.log_artifacts(str(self.run_id), str(path), folder)
        else:
            self.client.log_artifact(str(self.run_id), str(path), folder)

    @_safely
    def log_dataset(self, name: str, source: Path, digest: str, profile: Mapping[str, Any], context: str) -> None:
        """Logs a dataset as the run's input.

        Args:
            name: The dataset's name.
            source: Where it lies, relative to the project's root.
            digest: Its content's digest, of which MLflow keeps 36 characters.
            profile: JSON values that describe it, as the number of images per split.
            context: What it was used for, as "training".
        """
        described = {"source": json.dumps({"uri": source.as_posix()}), "profile": json.dumps(profile)}
        dataset = Dataset(name=name, digest=digest[:36], source_type="local", **described)
        inputs = [DatasetInput(dataset, tags=[InputTag("mlflow.data.context", context)])]
        self.client.log_inputs(str(self.run_id), inputs)

    @_safely
    def start_system_metrics(self) -> None:
        """Begins to log the use of CPU, memory, disk, network and GPU, every few seconds until `finish`."""
        self._monitor = SystemMetricsMonitor(str(self.run_id), sampling_interval=2, samples_before_logging=1)
        self._monitor.start()

    def finish(self, status: str = "FINISHED") -> None:
        """Ends the run; `status` is FINISHED, FAILED or KILLED."""
        if self._monitor is not None:
            self._monitor.finish()
            self._monitor = None
        self._terminate(status)

    @_safely
    def _terminate(self, status: str) -> None:
        self.client.set_terminated(str(self.run_id), status)


def start_training(config: DictConfig, overrides: Sequence[str] = (), marker: Path | None = None) -> Tracker:
    """Begins the run of a training, as a child of the sweep's where there is one; or goes on with it.

    Args:
        config: The whole composed configuration; it becomes the run's parameters, without what it takes from the
            environment and without credentials.
        overrides: The command line; names the run in a sweep.
        marker: File that keeps the run's id while the training is unfinished, so that it is resumed in its run.
    """
    try:
        client, experiment = connect()
        if marker is not None and marker.is_file() and (begun := _go_on(client, marker.read_text().strip())):
            return begun
        parent = os.environ.get(SWEEP_VARIABLE)
        tags = {**provenance(), **({MLFLOW_PARENT_RUN_ID: parent} if parent else {})}
        run = client.create_run(experiment, tags=tags, run_name=_run_name(config, overrides))
    except FAILURES as error:
        tracker = Tracker(None, None)
        tracker.give_up(error)
        return tracker
    tracker = Tracker(client, run.info.run_id)
    tracker.log_params(flat_params(config))
    if marker is not None:
        files.write_text(marker, run.info.run_id)
    return tracker


def _go_on(client: mlflow.MlflowClient, run_id: str) -> Tracker | None:
    """Takes a run up again; None where the store no longer has it."""
    try:
        client.update_run(run_id, status="RUNNING")
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
            raise
        return None
    logged = client.get_metric_history(run_id, "train_loss")
    return Tracker(client, run_id, {metric.step for metric in logged})


def _run_name(config: DictConfig, overrides: Sequence[str]) -> str:
    if overrides:
        return secrets.mask(" ".join(overrides))
    return os.environ.get("DVC_EXP_NAME") or f"{config.train.model.name} lr={config.train.lr:g}"


def resume_by_model(digest: str, tags: Mapping[str, str]) -> Tracker:
    """Finds the run that trained a model and adds to it.

    A model can be here without a run: restored from DVC's cache, pulled from a remote, or trained while MLflow was
    away. A run is then made for it.

    Args:
        digest: The model's digest.
        tags: Tags for a run that has to be made.
    """
    try:
        client, experiment = connect()
        return Tracker(client, run_of_model(client, experiment, digest, tags))
    except FAILURES as error:
        tracker = Tracker(None, None)
        tracker.give_up(error)
        return tracker


def run_of_model(client: mlflow.MlflowClient, experiment: str, digest: str, tags: Mapping[str, str]) -> str:
    """Returns the id of the run that trained a model; the arguments are those of `resume_by_model`."""
    found: Sequence[Run] = client.search_runs(
        [experiment], f"tags.`{MODEL_TAG}` = '{digest}'", order_by=["attributes.start_time DESC"], max_results=1
    )
    if found:
        return str(found[0].info.run_id)
    made = client.create_run(experiment, tags={**provenance(), **tags, MODEL_TAG: digest}, run_name="restored model")
    client.set_terminated(made.info.run_id)
    return str(made.info.run_id)


def provenance() -> dict[str, str]:
    """Returns tags that say which code and which DVC stage and experiment made a run."""
    tags = {MLFLOW_SOURCE_NAME: " ".join(["python", "-m", *_module()]), MLFLOW_USER: getpass.getuser()}
    commit = git("rev-parse", "HEAD")
    if commit:
        tags[MLFLOW_GIT_COMMIT] = commit
        tags["git.dirty"] = str(bool(git("status", "--porcelain", "--untracked-files=no"))).lower()
        tags["git.branch"] = git("rev-parse", "--abbrev-ref", "HEAD")
    for variable in ("DVC_STAGE", "DVC_EXP_NAME", "DVC_EXP_BASELINE_REV"):
        if value := os.environ.get(variable):
            tags[variable.lower().replace("_", ".", 1)] = value
    return tags


def _module() -> list[str]:
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return [spec.name] if spec else [Path(sys.argv[0]).name]


def git(*arguments: str) -> str:
    """Returns what git says, or nothing where there is no git or no repository."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def flat_params(config: DictConfig) -> dict[str, str]:
    """Returns a configuration as flat parameters: `train.model.name`, `train.lr`, ...

    What comes from the environment stays unresolved, and credentials in URLs are taken out.
    """
    resolved = copy.deepcopy(config)
    _hide_environment(resolved)
    params: dict[str, str] = {}

    def walk(node: Any, path: str) -> None:
        if isinstance(node, dict):
            for key, value in node.items():
                walk(value, f"{path}.{key}" if path else str(key))
        else:
            params[path] = secrets.mask(str(node))

    walk(OmegaConf.to_container(resolved, resolve=True), "")
    return params


def _hide_environment(node: Any) -> None:
    """Replaces every value that reads an environment variable by the text that says so."""
    for key in list(node) if isinstance(node, DictConfig) else range(len(node)):
        child = node._get_node(key)
        if isinstance(child, Container) and not child._is_none() and not child._is_missing():
            if child._is_interpolation():
                continue
            _hide_environment(child)
        elif child is not None and "oc.env:" in str(child._value()):
            text = str(child._value()).replace("${", "{")
            node._set_item_impl(key, AnyNode(text)) if isinstance(node, DictConfig) else node.__setitem__(key, text)


class SweepRun(Callback):
    """Hydra's callback for a sweep: the parent run of its jobs' runs."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Makes the parent; its id reaches the jobs, in whatever process, by an environment variable."""
        given = OverridesParser.create().parse_overrides(list(config.hydra.overrides.task))
        overrides = [secrets.mask(str(o.input_line)) for o in given if o.is_sweep_override()]
        try:
            client, experiment = connect()
            tags = {**provenance(), "sightline.sweep": "true"}
            run = client.create_run(experiment, tags=tags, run_name="sweep " + " ".join(overrides))
        except FAILURES as error:
            Tracker(None, None).give_up(error)
            return
        os.environ[SWEEP_VARIABLE] = run.info.run_id
        Tracker(client, run.info.run_id).log_params({f"sweep.{i}": o for i, o in enumerate(overrides)})

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Ends the parent, with the best child's metrics as its own."""
        parent = os.environ.pop(SWEEP_VARIABLE, None)
        if parent is None:
            return
        try:
            client, experiment = connect()
            children = client.search_runs([experiment], f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{parent}'", max_results=1000)
            monitor = config.train.monitor
            done = [run for run in children if f"best_{monitor}" in run.data.metrics]
            tracker = Tracker(client, parent)
            if done:
                sign = 1 if monitor.endswith("loss") else -1
                best = min(done, key=lambda run: sign * run.data.metrics[f"best_{monitor}"])
                metrics = {k: v for k, v in best.data.metrics.items() if k.startswith("best_")}
                tracker.log_metrics(metrics)
                tracker.set_tags({"sightline.best_child": best.info.run_id, "sightline.best_name": best.info.run_name})
                said = "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())
                print(f"sweep: {len(done)} of {len(children)} jobs done; best: {best.info.run_name}  {said}")
            tracker.finish("FINISHED" if len(done) == len(children) else "FAILED")
        except FAILURES as error:
            Tracker(None, None).give_up(error)
