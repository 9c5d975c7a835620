"""The view of runs on MLflow's page: its columns, its order, and the URL that opens it.

By default, MLflow 3 opens an experiment on the page for chat traces, and shows its table of runs without metrics
(mlflow/mlflow#24498). A shared view, which is described in a tag of the experiment and named in the URL, avoids both.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import mlflow

from sightline.core import credentials
from sightline.tracking.uris import own_uri, sqlite_file, store_uri

VIEW = "sightline"
_TAG = "mlflow.sharedViewState."
_FACE = "workflowType=machine_learning"
_LOCAL = "http://127.0.0.1:5000"
COLUMNS = (
    "attributes.`Created`",
    "metrics.`best_val_loss`",
    "metrics.`test_accuracy`",
    "metrics.`test_acc_low`",
    "metrics.`test_ece`",
    "metrics.`latency_ms`",
    "metrics.`megabytes`",
    "params.`train.model.name`",
    "params.`train.lr`",
)


def set_view(
    client: mlflow.MlflowClient,
    experiment: str,
    view: str = VIEW,
    columns: Sequence[str] = COLUMNS,
    order_by: str = "best_val_loss",
    ascending: bool = True,
    **state: object,
) -> None:
    """Stores the description of a view in an experiment's tag, unless it is there already.

    Args:
        client: A client.
        experiment: The experiment's id.
        view: The view's name, for the URL.
        columns: The table's columns, in MLflow's syntax.
        order_by: The metric that runs are sorted by.
        ascending: Whether the lowest value comes first.
        state: Further entries of the page's state: `searchFilter`, `compareRunCharts`.
    """
    described = {
        "selectedColumns": list(columns),
        "orderByKey": f"metrics.`{order_by}`",
        "orderByAsc": ascending,
        "runsExpanded": {},
        **state,
    }
    text = json.dumps(described, sort_keys=True)
    if client.get_experiment(experiment).tags.get(_TAG + view) != text:
        client.set_experiment_tag(experiment, _TAG + view, text)


def set_sweep_view(
    client: mlflow.MlflowClient,
    experiment: str,
    view: str,
    jobs: str,
    params: Sequence[str],
    metrics: Sequence[str],
    ascending: bool,
) -> None:
    """Stores the view of a sweep: its jobs, the best first, and charts.

    Args:
        client: A client.
        experiment: The experiment's id.
        view: The view's name, for the URL.
        jobs: The filter that selects the jobs, in MLflow's syntax.
        params: The parameters that vary between jobs.
        metrics: The metrics that the jobs are compared by, named as in their runs.
        ascending: Whether a lower value of the first metric is better.
    """
    section: dict[str, object] = {
        "uuid": view,
        "name": "Sweep",
        "display": True,
        "isReordered": False,
        "deleted": False,
    }
    section |= {"columns": 1, "cardHeight": 480}  # three charts per row leave too little room for the lines
    chart = {"metricSectionId": view, "deleted": False, "isGenerated": False, "runsCountToCompare": 100}
    parallel = {"selectedParams": list(params), "selectedMetrics": list(metrics), "showAllRuns": True}
    charts: list[dict[str, object]] = [{**chart, "type": "PARALLEL", "uuid": f"{view}-parallel", **parallel}]
    charts += [{**chart, "type": "BAR", "uuid": f"{view}-{name}", "metricKey": name} for name in metrics]
    columns = [*(f"metrics.`{name}`" for name in metrics), *(f"params.`{name}`" for name in params)]
    shown: dict[str, object] = {"compareRunCharts": charts, "compareRunSections": [{**section, "isGenerated": False}]}
    shown |= {"searchFilter": jobs, "runsHiddenMode": "SHOW_ALL"}
    set_view(client, experiment, view, columns, metrics[0], ascending, **shown)


def address(experiment: str, view: str = VIEW) -> str:
    """Returns the URL of a view, preceded by the command that starts the server unless the store is on a server.

    >>> address("1").split(" ")[-1].partition("#")[2]
    '/experiments/1/runs?workflowType=machine_learning&viewStateShareKey=sightline'
    """
    return _reached(f"#/experiments/{experiment}/runs?{_FACE}&viewStateShareKey={view}")


def run_address(experiment: str, run_id: str) -> str:
    """Returns the URL of a run's page, in the same form as `address`."""
    return _reached(f"#/experiments/{experiment}/runs/{run_id}?{_FACE}")


def _reached(place: str) -> str:
    uri = store_uri()
    if uri.startswith(("http://", "https://")):
        return f"{credentials.mask(uri).replace('***@', '').rstrip('/')}/{place}"
    database = "" if uri == own_uri() or _default(uri) else ' --backend-store-uri "$MLFLOW_TRACKING_URI"'
    return f"mlflow ui{database}, then {_LOCAL}/{place}"


def _default(uri: str) -> bool:
    """Returns whether `mlflow ui` uses this database by default."""
    path, own = sqlite_file(uri), sqlite_file(own_uri())
    return path is not None and own is not None and path.resolve() == own.resolve()


def link(experiment: str, run_id: str, artifact: str = "") -> str:
    """Returns a link within MLflow's page to a run, or to one of its files."""
    return f"#/experiments/{experiment}/runs/{run_id}{f'/artifacts/{artifact}' if artifact else ''}"
