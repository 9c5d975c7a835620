"""The MLflow run of a sweep, which is the parent of its jobs' runs and is found by a tag."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence

import mlflow
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from sightline.tracking import run_view
from sightline.tracking.mlflow_errors import TrackingError, mlflow_calls
from sightline.tracking.mlflow_store import SWEEP_JOB_TAG, SWEEP_TAG, connect, provenance
from sightline.tracking.runs import begin_run, reach
from sightline.tracking.tracker import Tracker

log = logging.getLogger(__name__)

_MEMBER = f"{SWEEP_JOB_TAG}.in."
"""The tag of a job's run for each sweep that has the job: the run is the child of one, and in the views of all."""


def sweep_run(sweep: str, name: str) -> Tracker:
    """Starts the run of a sweep, or resumes an existing one.

    Args:
        sweep: The sweep's name, stored as a tag.
        name: The run's name.
    """
    tags = {**provenance(), SWEEP_TAG: sweep}

    def find(client: mlflow.MlflowClient, experiment: str) -> Tracker:
        found = client.search_runs([experiment], f"tags.`{SWEEP_TAG}` = '{sweep}'", max_results=1)
        if not found:
            return begin_run(client, experiment, tags, name)
        run_id = str(found[0].info.run_id)
        client.update_run(run_id, status="RUNNING")
        return Tracker(client, run_id, begun=True)

    return reach({"new": name, "tags": tags}, find)


def job_tags(parent: Tracker, sweep: str, digest: str) -> dict[str, str]:
    """Returns the tags of a job's run.

    Args:
        parent: The sweep's run.
        sweep: The sweep's name.
        digest: The job's digest.
    """
    above = {MLFLOW_PARENT_RUN_ID: parent.run_id} if parent.run_id is not None else {}
    return {**above, SWEEP_JOB_TAG: digest, f"{SWEEP_JOB_TAG}.sweep": sweep, f"{_MEMBER}{sweep}": "true"}


def job_runs(tracker: Tracker, digests: Mapping[str, object]) -> dict[str, str]:
    """Returns the ids of jobs' runs that MLflow has, {digest: id}; the newest for each digest.

    Args:
        tracker: The sweep's run.
        digests: The digests to look for.
    """
    if tracker.run_id is None:
        return {}
    try:
        with mlflow_calls():
            client, experiment = connect()
            found: dict[str, str] = {}
            token: str | None = None
            while True:
                wanted = f"tags.`{SWEEP_JOB_TAG}` LIKE '%' AND attributes.status != 'FAILED'"
                page = client.search_runs([experiment], wanted, max_results=1000, page_token=token)
                for run in page:
                    digest = run.data.tags[SWEEP_JOB_TAG]
                    if digest in digests:
                        found.setdefault(digest, str(run.info.run_id))
                token = page.token
                if not token:
                    return found
    except TrackingError as error:
        tracker.give_up(error)
        return {}


def announce_sweep(
    tracker: Tracker,
    sweep: str,
    params: Sequence[str],
    metrics: Mapping[str, bool],
    experiment: str,
    jobs: Collection[str] = (),
) -> None:
    """Creates a view of a sweep on MLflow's page, and logs its URL.

    Args:
        tracker: The sweep's run.
        sweep: The sweep's name.
        params: The parameters that vary between jobs.
        metrics: By metric that the jobs are compared by, named as in their runs, whether lower is better.
        experiment: The experiment's id.
        jobs: The ids of its jobs' runs, those of other sweeps among them.
    """
    if tracker.run_id is None:
        return
    view = f"{run_view.VIEW}-sweep-{sweep}"
    try:
        with mlflow_calls():
            client, member = tracker.client, f"{_MEMBER}{sweep}"
            wanted = f"tags.`{member}` = 'true'"
            own = {run.info.run_id for run in client.search_runs([experiment], wanted, max_results=50_000)}
            for job in set(jobs) - own:
                client.set_tag(job, member, "true")
            first = next(iter(metrics.values()))
            run_view.set_sweep_view(client, experiment, view, wanted, params, list(metrics), first)
    except TrackingError as error:
        tracker.give_up(error)
    else:
        log.info(f"sweep: its jobs and their charts: {run_view.address(experiment, view)}")


def experiment_of(tracker: Tracker) -> str:
    """Returns the id of the experiment of a sweep's run, for links to other runs; "" if MLflow is unavailable."""
    if tracker.run_id is None:
        return ""
    try:
        with mlflow_calls():
            return str(tracker.client.get_run(tracker.run_id).info.experiment_id)
    except TrackingError as error:
        tracker.give_up(error)
        return ""
