"""Everything that speaks to MLflow's runs; `registry.py` speaks to its registered models, and nothing else to either.

A training is a run; evaluation and export find it by the model's digest (a tag) and add to it. A sweep is a parent
run with a child for each job. A baseline is a run of its own. MLflow never changes a result: where it cannot be
reached, the stage warns and goes on.
"""

from __future__ import annotations

import copy
import functools
import getpass
import inspect
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

# Before mlflow is imported: no usage reports, and seconds instead of minutes until a dead server is given up.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

import mlflow
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT, MLFLOW_PARENT_RUN_ID, MLFLOW_SOURCE_NAME, MLFLOW_USER
from omegaconf import AnyNode, Container, DictConfig, OmegaConf
from requests.exceptions import RequestException
from sqlalchemy.exc import SQLAlchemyError

from sightline import files, outbox, secrets
from sightline.errors import UserError
from sightline.outbox import Outbox

EXPERIMENT = "sightline"
MODEL_TAG = "sightline.model_sha256"
DATA_TAG = "sightline.data_sha256"
BASELINE_TAG = "sightline.baseline"
RESULT_TAG = "sightline.result_sha256"
TEST_TAG = "sightline.test_scored"
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
    """Makes a failure to log a warning, once: this call and later ones are kept for `sightline sync`."""
    signature = inspect.signature(method)

    @functools.wraps(method)
    def guarded(self: Tracker, /, *args: P.args, **kwargs: P.kwargs) -> None:
        if self.run_id is not None:
            try:
                method(self, *args, **kwargs)
            except FAILURES as error:
                self.give_up(error)
            else:
                return
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        self.keep(method.__name__, {name: value for name, value in bound.arguments.items() if name != "self"})

    return guarded


class Tracker:
    """One MLflow run to log to; once the store has failed, what is logged is kept for `sightline sync`.

    Args:
        client: A client, or None where there is no store to log to.
        run_id: The run's id, or None where there is no store to log to.
        logged_epochs: Epochs whose metrics the run already has.
        found_by: How the run is to be found where it has no id yet; see `outbox.Outbox`.
    """

    def __init__(
        self,
        client: mlflow.MlflowClient | None,
        run_id: str | None,
        logged_epochs: Collection[int] = (),
        found_by: Mapping[str, Any] | None = None,
    ) -> None:
        self._client = client
        self.run_id = run_id
        self._found_by = found_by if run_id is None else {"id": run_id}
        self._outbox: Outbox | None = None
        self._logged_epochs = set(logged_epochs)
        self._scored: int | None = None
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
            "the stage goes on without it, its outputs are complete; sightline sync tells MLflow later",
            file=sys.stderr,
        )
        self.run_id = None

    def keep(self, method: str, arguments: Mapping[str, Any]) -> None:
        """Keeps a call that cannot be made now."""
        if self._found_by is None:
            return
        try:
            if self._outbox is None:
                self._outbox = Outbox(self._found_by)
            self._outbox.keep(method, arguments)
        except OSError as error:  # shutil.Error is one; a full disk must not end a training
            print(f"tracking: what MLflow missed cannot be kept either: {error.strerror or 'copying'}", file=sys.stderr)
            self._found_by = None

    @_safely
    def log_params(self, params: Mapping[str, str]) -> None:
        """Logs parameters; a value that MLflow would refuse for its length is cut."""
        entities = [Param(name, value[:MAX_PARAM_LENGTH]) for name, value in params.items()]
        for start in range(0, len(entities), 100):  # MLflow's limit for a request
            self.client.log_batch(str(self.run_id), params=entities[start : start + 100])

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Logs metrics of one step, in one request a thousand."""
        self._log_metrics(metrics, step, _now())

    @_safely
    def _log_metrics(self, metrics: Mapping[str, float], step: int, at: int) -> None:
        entities = [Metric(name, value, at, step) for name, value in metrics.items()]
        for start in range(0, len(entities), 1000):
            self.client.log_batch(str(self.run_id), metrics=entities[start : start + 1000])

    @_safely
    def log_curve(self, name: str, values: Sequence[float]) -> None:
        """Logs a metric's values at steps 0, 1, 2, ..."""
        entities = [Metric(name, value, _now(), step) for step, value in enumerate(values)]
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

    def count_test(self, digest: str) -> int | None:
        """Counts one more scoring of a test split, and returns how often it has been scored in all.

        Each run keeps its own scorings in a tag that names the split; the metric `test_scored_times` is the sum over
        the experiment's runs. What has often been looked at has been chosen by, and flatters.

        Args:
            digest: Of the split's images and labels.

        Returns:
            None where MLflow cannot tell.
        """
        self._scored = None
        self._count_test(digest)
        return self._scored

    @_safely
    def _count_test(self, digest: str) -> None:
        run_id, tag = str(self.run_id), f"{TEST_TAG}.{digest[:16]}"
        run = self.client.get_run(run_id)
        others = f"tags.`{tag}` LIKE '%' AND attributes.run_id != '{run_id}'"
        times = int(run.data.tags.get(tag, 0)) + 1
        total = times + sum(
            int(other.data.tags[tag]) for other in _all_runs(self.client, run.info.experiment_id, others)
        )
        # The tag last: what fails before it has not been counted, and may be tried again.
        self.client.log_metric(run_id, "test_scored_times", total)
        self.client.set_tag(run_id, tag, str(times))
        self._scored = total

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

    def start_system_metrics(self) -> None:
        """Begins to log the use of CPU, memory, disk, network and GPU, every few seconds until `finish`."""
        if self.run_id is not None:
            self._start_system_metrics()

    @_safely
    def _start_system_metrics(self) -> None:
        self._monitor = SystemMetricsMonitor(str(self.run_id), sampling_interval=2, samples_before_logging=1)
        self._monitor.start()

    def finish(self, status: str = "FINISHED") -> None:
        """Ends the run; `status` is FINISHED, FAILED or KILLED."""
        if self._monitor is not None:
            self._monitor.finish()
            self._monitor = None
        self._terminate(status, _now())
        self.close()

    def close(self) -> None:
        """Says that nothing more will be logged."""
        if self._outbox is not None:
            self._outbox.close()

    @_safely
    def _terminate(self, status: str, at: int) -> None:
        self.client.set_terminated(str(self.run_id), status, at)


def _now() -> int:
    """Returns the time as MLflow has it: milliseconds since 1970."""
    return int(time.time() * 1000)


def start_training(config: DictConfig, overrides: Sequence[str] = (), marker: Path | None = None) -> Tracker:
    """Begins the run of a training, as a child of the sweep's where there is one; or goes on with it.

    Args:
        config: The whole composed configuration; it becomes the run's parameters, without what it takes from the
            environment and without credentials.
        overrides: The command line; names the run in a sweep.
        marker: File that keeps the run's id while the training is unfinished, so that it is resumed in its run.
    """
    parent = os.environ.get(SWEEP_VARIABLE)
    tags = {**provenance(), **({MLFLOW_PARENT_RUN_ID: parent} if parent else {})}
    begun = marker.read_text().strip() if marker is not None and marker.is_file() else None
    try:
        client, experiment = connect()
        if begun and (tracker := _go_on(client, begun)):
            return tracker
    except FAILURES as error:
        tracker = Tracker(None, None, found_by={"id": begun} if begun else _new(tags, _run_name(config, overrides)))
        tracker.give_up(error)
    else:
        tracker = _begin(client, experiment, tags, _run_name(config, overrides))
    tracker.log_params(flat_params(config))
    if marker is not None and tracker.run_id is not None:
        files.write_text(marker, tracker.run_id)
    return tracker


def _begin(client: mlflow.MlflowClient, experiment: str, tags: Mapping[str, str], name: str) -> Tracker:
    """Makes a run."""
    try:
        return Tracker(client, client.create_run(experiment, tags=dict(tags), run_name=name).info.run_id)
    except FAILURES as error:
        tracker = Tracker(None, None, found_by=_new(tags, name))
        tracker.give_up(error)
        return tracker


def _new(tags: Mapping[str, str], name: str) -> dict[str, Any]:
    return {"new": name, "tags": dict(tags)}


def start_trial(name: str, config: DictConfig) -> Tracker:
    """Begins the run of a trial before training, as the search for a learning rate."""
    tags, title = {**provenance(), "sightline.trial": name}, f"{name} {config.train.model.name}"
    try:
        client, experiment = connect()
    except FAILURES as error:
        tracker = Tracker(None, None, found_by=_new(tags, title))
        tracker.give_up(error)
    else:
        tracker = _begin(client, experiment, tags, title)
    tracker.log_params(flat_params(config))
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
        tracker = Tracker(None, None, found_by={"model": digest, "tags": dict(tags)})
        tracker.give_up(error)
        return tracker


def baseline_run(
    method: str, config: DictConfig, fitted: Mapping[str, Any], result: Path, before: Tracker | None = None
) -> Tracker:
    """Finds the run of a baseline's result, or makes it.

    The same result of the same configuration is the same run, however often the stage is run again: after it was
    killed between two methods, or forced.

    Args:
        method: The baseline's name.
        config: The whole composed configuration; what the result depends on becomes the run's parameters.
        fitted: The settings that the method was fitted with; parameters as well.
        result: The file of its answers.
        before: The tracker of the method before: where that one lost MLflow, this one neither tries nor warns again.
    """
    params = {
        **{k: v for k, v in flat_params(config).items() if k.split(".")[0] in ("ingest", "preprocess", "baseline")},
        **{f"fitted.{name}": str(value) for name, value in fitted.items()},
    }
    digest = files.sha256(files.canonical_json([method, params, files.sha256_file(result)]).encode())
    tags, name = {**provenance(), BASELINE_TAG: method, RESULT_TAG: digest}, f"baseline {method}"
    if before is not None and before.run_id is None:
        tracker = Tracker(None, None, found_by=_new(tags, name))
        tracker.log_params(params)
        return tracker
    try:
        client, experiment = connect()
        found: Sequence[Run] = client.search_runs([experiment], f"tags.`{RESULT_TAG}` = '{digest}'", max_results=1)
        if found:
            return Tracker(client, found[0].info.run_id)
    except FAILURES as error:
        tracker = Tracker(None, None, found_by=_new(tags, name))
        tracker.give_up(error)
    else:
        tracker = _begin(client, experiment, tags, name)
    tracker.log_params(params)
    return tracker


def _all_runs(client: mlflow.MlflowClient, experiment: str, wanted: str) -> list[Run]:
    """Returns all runs of an experiment that a filter finds, page by page."""
    found: list[Run] = []
    token: str | None = None
    while True:
        page = client.search_runs([experiment], wanted, max_results=1000, page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def run_of_model(client: mlflow.MlflowClient, experiment: str, digest: str, tags: Mapping[str, str]) -> str:
    """Returns the id of the newest run that trained a model, or of one made for it."""
    found: Sequence[Run] = client.search_runs(
        [experiment], f"tags.`{MODEL_TAG}` = '{digest}'", order_by=["attributes.start_time DESC"], max_results=1
    )
    if found:
        return str(found[0].info.run_id)
    made = client.create_run(experiment, tags={**provenance(), **tags, MODEL_TAG: digest}, run_name="restored model")
    client.set_terminated(made.info.run_id)
    return str(made.info.run_id)


def sync() -> Iterator[str]:
    """Tells MLflow what it could not be told before; yields a line for each run.

    Raises:
        UserError: If MLflow still cannot be reached; what is left is kept.
    """
    with files.lock("sync"):
        for entry in outbox.kept():
            try:
                client, experiment = connect()
                tracker = Tracker(client, _run_of(client, experiment, entry))
                for method, arguments in entry.calls:
                    getattr(Tracker, method).__wrapped__(tracker, **arguments)
            except FAILURES as error:
                line = secrets.mask(str(error)).strip().splitlines()[:1]
                raise UserError(
                    f"MLflow failed ({''.join(line)[:200]}); what is left is kept: try again later"
                ) from None
            shutil.rmtree(entry.folder)
            yield f"run {tracker.run_id}: {len(entry.calls)} calls"


def _run_of(client: mlflow.MlflowClient, experiment: str, entry: outbox.Kept) -> str:
    """Finds the run that an outbox is for, or makes it."""
    run = entry.run
    if "model" in run:
        return run_of_model(client, experiment, run["model"], run["tags"])
    if "new" in run:
        made = client.create_run(experiment, entry.start_time, run["tags"], run["new"])
        # If sending fails half way, it is taken up again in the same run.
        outbox.rename(entry, {"id": made.info.run_id})
        return str(made.info.run_id)
    return str(run["id"])


@dataclass(frozen=True)
class FoundRun:
    """A run in the store: its id, its name, and (name, value) of what tells it from others."""

    id: str
    name: str
    about: list[tuple[str, str]]


_ABOUT = {MLFLOW_GIT_COMMIT: "commit", MODEL_TAG: "model", DATA_TAG: "data"}


def find_run(reference: str) -> FoundRun:
    """Finds a run.

    Args:
        reference: A run's id, a run's name, `models:/name@alias` or `models:/name/version`.

    Raises:
        UserError: If there is none, several have that name, or MLflow cannot be reached.
    """
    try:
        client, experiment = connect()
        if match := re.fullmatch(r"models:/([^/@]+)(?:@(.+)|/(\d+))", reference):
            name, alias, version = match.groups()
            get = client.get_model_version_by_alias if alias else client.get_model_version
            run = client.get_run(str(get(name, alias or version).run_id))
        elif reference.startswith("models:/"):
            raise UserError(f"{reference}: a registered model is models:/name@alias or models:/name/version")
        elif re.fullmatch(r"[0-9a-f]{32}", reference):
            run = client.get_run(reference)
        else:
            run = _run_named(client, experiment, reference)
    except MlflowException as error:
        if error.error_code in (ErrorCode.Name(RESOURCE_DOES_NOT_EXIST), ErrorCode.Name(INVALID_PARAMETER_VALUE)):
            raise UserError(f"{reference}: no such run or registered model in {mlflow.get_tracking_uri()}") from None
        raise _unreachable(error) from None
    except FAILURES as error:
        raise _unreachable(error) from None
    told = [(said, str(run.data.tags[tag])) for tag, said in _ABOUT.items() if tag in run.data.tags]
    told += [(name, run.data.params[name]) for name in ("train.model.name", "train.lr") if name in run.data.params]
    return FoundRun(run.info.run_id, str(run.info.run_name), told)


def _run_named(client: mlflow.MlflowClient, experiment: str, name: str) -> Run:
    quoted = f'"{name}"' if "'" in name else f"'{name}'"
    newest_first = ["attributes.start_time DESC"]
    found = client.search_runs([experiment], f"attributes.run_name = {quoted}", order_by=newest_first, max_results=6)
    if not found:
        raise UserError(
            f"{name}: no folder, and no run of that id or name in {secrets.mask(mlflow.get_tracking_uri())}"
        )
    if len(found) > 1:
        ids = ", ".join(run.info.run_id for run in found[:5])
        raise UserError(f"{name}: several runs have this name, give an id; newest first: {ids}")
    return found[0]


def download(run_id: str, artifact: str, folder: Path) -> Path | None:
    """Copies a run's artifact into a folder; returns its path, or None where the run has no such artifact.

    Raises:
        UserError: If MLflow cannot be reached.
    """
    try:
        client, _ = connect()
        if artifact not in {file.path for file in client.list_artifacts(run_id)}:
            return None
        return Path(client.download_artifacts(run_id, artifact, str(folder)))
    except FAILURES as error:
        raise _unreachable(error) from None


def _unreachable(error: Exception) -> UserError:
    first_line = "".join(secrets.mask(str(error)).strip().splitlines()[:1])[:200]
    return UserError(
        f"MLflow at {secrets.mask(mlflow.get_tracking_uri())} failed ({type(error).__name__}: {first_line}); start it, "
        "or set MLFLOW_TRACKING_URI to one that runs"
    )


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
