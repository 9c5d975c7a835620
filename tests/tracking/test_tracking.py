"""MLflow: what a run is told, how runs are found again, and that no fault of MLflow's reaches a stage."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf

from sightline import tracking
from sightline.config.compose import compose
from sightline.core.errors import UserError
from sightline.tracking import (
    Tracker,
    flat_params,
    offline_queue,
    resume_by_model,
    run_view,
    start_training,
    sweep_runs,
)
from sightline.tracking.sweep_runs import job_runs, job_tags, sweep_run

ROOT = Path(__file__).parents[2]
mlflow = tracking.mlflow_store.mlflow  # reads its settings at import, which tracking makes first
DIGEST = "0123456789abcdef" * 4


def the_run(store: Any) -> Any:
    runs = all_runs(store)
    assert len(runs) == 1
    return runs[0]


def all_runs(store: Any) -> list[Any]:
    """Every run there is, newest first."""
    experiments = [experiment.experiment_id for experiment in store.search_experiments()]
    return list(store.search_runs(experiments, order_by=["attributes.start_time DESC"]))


# --- parameters ----------------------------------------------------------------------------------------------------


def test_a_run_has_the_settings_that_tell_it_from_others_and_all_of_them_in_a_file(
    store: Any, config: DictConfig
) -> None:
    data = {"ingest.source.name": "folder", "preprocess.size": "24"}  # as recorded, whatever `config` says
    tracker = start_training(config, ("train.patience=10", "++train.model_options.dropout=0.2"), data=data)
    run = the_run(store)
    assert tracker.run_id == run.info.run_id
    assert run.info.status == "RUNNING"
    assert run.info.run_name == "dense lr=0.02 source=folder size=24"
    options = {name: value for name, value in flat_params(config, "train").items() if name.endswith(".name")}
    assert len(options) == 10
    assert options["train.model.name"] == "dense"
    given = {"train.patience": "10", "train.model.dropout": "0.0"}  # at their defaults, and asked for
    assert run.data.params == {**data, **options, **given, "train.lr": "0.02"}
    assert run.data.tags["sightline.overrides"] == "train.patience=10 ++train.model_options.dropout=0.2"
    kept = Path(store.download_artifacts(run.info.run_id, "config/train.json"))
    assert json.loads(kept.read_text()) == {**data, **flat_params(config, "train")}
    tracker.finish()
    assert the_run(store).info.status == "FINISHED"


def test_every_leaf_is_a_parameter(config: DictConfig) -> None:
    def leaves(node: Any, path: str = "") -> Iterator[str]:
        if isinstance(node, dict):
            for key, value in node.items():
                yield from leaves(value, f"{path}.{key}" if path else str(key))
        else:
            yield path

    assert set(flat_params(config)) == set(leaves(OmegaConf.to_container(config, resolve=False)))


def test_what_the_environment_holds_is_never_written_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_TEST_SECRET", "hunter2")
    config = OmegaConf.create(
        {
            "plain": "${oc.env:SIGHTLINE_TEST_SECRET}",
            "within": "host=${oc.env:SIGHTLINE_TEST_SECRET};x",
            "decoded": "${oc.decode:${oc.env:SIGHTLINE_TEST_SECRET}}",
            "default": "${oc.env:SIGHTLINE_TEST_UNSET,fallback}",
            "through": "${plain}",
            "twice": {"removed": "${through}"},
            "list": ["a", "${oc.env:SIGHTLINE_TEST_SECRET}", ["${oc.env:SIGHTLINE_TEST_SECRET}"]],
            "mappings": [{"deep": "${oc.env:SIGHTLINE_TEST_SECRET}"}],
            "number": 3,
        }
    )
    before = OmegaConf.to_container(config, resolve=False)
    params = flat_params(config)
    assert "hunter2" not in str(params)
    assert params["plain"] == "{oc.env:SIGHTLINE_TEST_SECRET}"
    assert params["through"] == params["twice.removed"] == params["plain"]
    assert params["number"] == "3"
    assert OmegaConf.to_container(config, resolve=False) == before  # the configuration itself is not touched
    assert config.plain == "hunter2"


PASSWORDS = st.text("abcdefghijklmnopqrstuvwxyz0123456789%!$()*+,;=:._~-", min_size=6, max_size=20).filter(
    lambda text: not set(text) <= set("*") and "${" not in text
)


@given(password=PASSWORDS, scheme=st.sampled_from(["mysql", "postgresql+psycopg", "mongodb", "s3", "https"]))
def test_a_password_in_a_url_is_masked(password: str, scheme: str) -> None:
    url = f"{scheme}://root:{password}@db.example:3306/images"
    params = flat_params(OmegaConf.create({"ingest": {"url": url, "source": {"url": "${ingest.url}"}}}))
    for value in params.values():
        assert password not in value.replace("db.example:3306/images", "").replace(f"{scheme}://", "")
        assert value.endswith("@db.example:3306/images")


def test_names_of_runs_hold_no_password(store: Any, config: DictConfig) -> None:
    start_training(config, ("ingest.url=mysql://root:hunter2@db/x", "train.lr=0.1"))
    assert the_run(store).data.tags["sightline.overrides"] == "ingest.url=mysql://***@db/x train.lr=0.1"


def test_many_and_long_parameters_are_accepted(store: Any, config: DictConfig) -> None:
    tracker = start_training(config)
    tracker.log_params({f"many.{i}": str(i) for i in range(250)} | {"long": "x" * 20_000, "empty": ""})
    params = the_run(store).data.params
    assert params["many.249"] == "249"
    assert params["long"] == "x" * tracking.MAX_PARAM_LENGTH
    assert tracker.run_id is not None


# --- metrics, dataset, tags, artifacts -----------------------------------------------------------------------------


def test_metrics_stand_for_every_epoch_once(store: Any, config: DictConfig) -> None:
    tracker = start_training(config)
    for epoch in (0, 1, 1, 2):  # a resumed training tells its last epoch again
        tracker.log_epoch({"train_loss": 1 / (epoch + 1), "val_accuracy": 0.5}, epoch)
    tracker.log_metrics({"test_accuracy": 0.25, "diverged": float("nan")})
    run = the_run(store)
    history = store.get_metric_history(run.info.run_id, "train_loss")
    assert [(metric.step, metric.value) for metric in history] == [(0, 1.0), (1, 0.5), (2, 1 / 3)]
    assert run.data.metrics["test_accuracy"] == 0.25
    tracker.log_metrics({f"many_{i}": float(i) for i in range(1100)})
    assert the_run(store).data.metrics["many_1099"] == 1099.0


def test_the_data_is_the_runs_input(store: Any, config: DictConfig) -> None:
    tracker = start_training(config)
    profile = {"train": 3, "classes": 2}
    for _ in range(2):  # logged again, it is still one input
        tracker.log_dataset("digits", Path("data/processed"), DIGEST, profile, "training")
    (given_data,) = the_run(store).inputs.dataset_inputs
    assert given_data.dataset.name == "digits"
    assert given_data.dataset.digest == DIGEST[:36]
    assert json.loads(given_data.dataset.source) == {"uri": "data/processed"}
    assert json.loads(given_data.dataset.profile) == profile
    assert {tag.key: tag.value for tag in given_data.tags} == {"mlflow.data.context": "training"}


def test_files_and_folders_become_artifacts(store: Any, config: DictConfig, project: Path) -> None:
    tracker = start_training(config)
    (project / "figures" / "deep").mkdir(parents=True)
    (project / "figures" / "deep" / "größe.svg").write_text("<svg/>")
    (project / "history.csv").write_text("epoch\n0\n")
    tracker.log_artifact(project / "history.csv")
    tracker.log_artifact(project / "figures", "figures")
    run_id = the_run(store).info.run_id
    assert {item.path for item in store.list_artifacts(run_id)} == {"history.csv", "figures", "config"}
    assert [item.path for item in store.list_artifacts(run_id, "figures/deep")] == ["figures/deep/größe.svg"]


def git(*arguments: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *who, *arguments], capture_output=True, text=True, check=True).stdout.strip()


def test_tags_say_which_code_and_which_experiment(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "mlflow.source.git.commit" not in tracking.provenance()  # no repository here yet
    git("init", "-b", "feature/x")
    (project / "code.py").write_text("1")
    (project / "dvc.lock").write_text("1")
    git("add", "code.py", "dvc.lock")
    git("commit", "-m", "first")
    (project / "untracked").touch()
    (project / "dvc.lock").write_text("2")  # as the stages before the run have
    tags = tracking.provenance()
    assert tags["mlflow.source.git.commit"] == git("rev-parse", "HEAD")
    assert tags["git.branch"] == "feature/x"
    assert tags["git.dirty"] == "false"
    assert not any(name.startswith("dvc.") for name in tags)
    (project / "code.py").write_text("2")
    monkeypatch.setenv("DVC_STAGE", "train")
    monkeypatch.setenv("DVC_EXP_NAME", "spiky-owl")
    monkeypatch.setenv("DVC_EXP_BASELINE_REV", "abc")
    tags = tracking.provenance()
    assert tags["git.dirty"] == "true"
    assert {name: value for name, value in tags.items() if name.startswith("dvc.")} == {
        "dvc.stage": "train",
        "dvc.exp_name": "spiky-owl",
        "dvc.exp_baseline_rev": "abc",
    }


def test_a_run_without_git_has_no_tag_of_it(store: Any, config: DictConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    start_training(config).finish()
    tags = the_run(store).data.tags
    assert "mlflow.source.git.commit" not in tags
    assert tags["mlflow.user"]


@pytest.mark.slow
def test_the_use_of_the_machine_is_logged(store: Any, config: DictConfig) -> None:
    tracker = start_training(config)
    tracker.start_system_metrics()
    deadline = time.monotonic() + 120
    while not (seen := the_run(store).data.metrics) and time.monotonic() < deadline:
        time.sleep(0.2)
    tracker.finish()
    assert any(name.startswith("system/cpu") for name in seen)
    assert the_run(store).info.status == "FINISHED"


# --- finding a run again -------------------------------------------------------------------------------------------


def test_a_model_is_found_by_its_digest_the_newest_run_first(store: Any, config: DictConfig) -> None:
    ids = []
    for digest in (DIGEST, DIGEST, "f" * 64):
        tracker = start_training(config)
        tracker.set_tags({tracking.MODEL_TAG: digest})
        tracker.finish()
        ids.append(tracker.run_id)
        time.sleep(0.01)  # start times have milliseconds
    found = resume_by_model(DIGEST, {})
    assert found.run_id == ids[1]
    found.log_metrics({"test_accuracy": 0.75})
    run = store.get_run(ids[1])
    assert run.data.metrics == {"test_accuracy": 0.75}
    assert run.info.status == "FINISHED"
    assert len(all_runs(store)) == 3


def test_a_model_without_a_run_gets_one(store: Any) -> None:
    made = resume_by_model(DIGEST, {"note": "pulled"})
    run = the_run(store)
    assert made.run_id == run.info.run_id
    assert run.data.tags[tracking.MODEL_TAG] == DIGEST
    assert run.data.tags["note"] == "pulled"
    assert run.info.status == "FINISHED"
    assert resume_by_model(DIGEST, {}).run_id == made.run_id  # and the next stage finds it
    assert resume_by_model("f" * 64, {}).run_id != made.run_id


def test_a_run_is_described_and_its_place_in_the_page_is_said(
    store: Any, config: DictConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tracker = start_training(config)
    tracker.describe("Accuracy 0.99.", "report.html")
    tracker.announce("train")
    run = the_run(store)
    experiment = run.info.experiment_id
    link = f"[Report](#/experiments/{experiment}/runs/{tracker.run_id}/artifacts/report.html)"
    assert run.data.tags["mlflow.note.content"] == f"Accuracy 0.99.\n\n{link}"
    place = f"#/experiments/{experiment}/runs?workflowType=machine_learning&viewStateShareKey=sightline"
    line = "train: its run, listed with the others: mlflow ui, then http://127.0.0.1:5000/"
    assert capsys.readouterr().out == f"{line}{place}\n"
    view = json.loads(store.get_experiment(experiment).tags["mlflow.sharedViewState.sightline"])
    assert "metrics.`test_accuracy`" in view["selectedColumns"]
    assert view["orderByKey"] in view["selectedColumns"]

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://user:hunter2@mlflow.example/")
    assert run_view.address(experiment) == f"https://mlflow.example/{place}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://user:hunter2@db/mlflow")
    started = 'mlflow ui --backend-store-uri "$MLFLOW_TRACKING_URI", then http://127.0.0.1:5000/'
    assert run_view.address(experiment) == f"{started}{place}"


def test_scorings_of_a_test_split_are_counted_over_all_runs(store: Any, config: DictConfig) -> None:
    first, second = start_training(config), start_training(config)
    assert [first.count_test(DIGEST), first.count_test(DIGEST), second.count_test(DIGEST)] == [1, 2, 3]
    assert second.count_test("f" * 64) == 1  # other images
    runs = {run.info.run_id: run for run in all_runs(store)}
    assert runs[str(first.run_id)].data.metrics["test_scored_times"] == 2
    assert runs[str(first.run_id)].data.tags[f"{tracking.TEST_TAG}.{DIGEST[:16]}"] == "2"
    assert first.count_test(DIGEST) == 4
    assert Tracker(None, None).count_test(DIGEST) is None


def test_a_scoring_that_mlflow_missed_is_counted_later(store: Any, config: DictConfig) -> None:
    run_id = start_training(config).run_id
    away = Tracker(None, None, found_by={"id": run_id})
    assert away.count_test(DIGEST) is None
    away.close()
    assert len(list(tracking.sync())) == 1
    assert Tracker(store, run_id).count_test(DIGEST) == 2


def test_counting_goes_over_more_than_one_page(store: Any, config: DictConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    trackers = [start_training(config) for _ in range(3)]
    for tracker in trackers:
        tracker.count_test(DIGEST)
    search = mlflow.MlflowClient.search_runs
    monkeypatch.setattr(mlflow.MlflowClient, "search_runs", lambda *a, **k: search(*a, **{**k, "max_results": 1}))
    assert trackers[0].count_test(DIGEST) == 4


def test_experiments_are_kept_apart(store: Any, config: DictConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    start_training(config).set_tags({tracking.MODEL_TAG: DIGEST})
    first = the_run(store)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "another")
    other = resume_by_model(DIGEST, {})
    assert other.run_id != first.info.run_id
    names = {experiment.name for experiment in store.search_experiments()}
    assert {"sightline", "another"} <= names


def test_an_interrupted_training_goes_on_in_its_run(store: Any, config: DictConfig, project: Path) -> None:
    marker = project / "checkpoints" / "mlflow_run"
    tracker = start_training(config, (), marker)
    tracker.log_epoch({"train_loss": 3.0}, 0)
    tracker.log_epoch({"train_loss": 2.0}, 1)
    tracker.finish("KILLED")
    again = start_training(config, (), marker)
    assert again.run_id == tracker.run_id == marker.read_text()
    assert the_run(store).info.status == "RUNNING"
    for epoch, loss in enumerate((3.0, 2.0, 1.0)):
        again.log_epoch({"train_loss": loss}, epoch)
    again.finish()
    run = the_run(store)
    assert run.info.status == "FINISHED"
    history = store.get_metric_history(run.info.run_id, "train_loss")
    assert [(metric.step, metric.value) for metric in history] == [(0, 3.0), (1, 2.0), (2, 1.0)]


# --- sweeps --------------------------------------------------------------------------------------------------------


def test_a_sweep_has_one_run_whose_jobs_are_its_children(store: Any, config: DictConfig) -> None:
    parent = sweep_run("abc", "sweep train.lr")
    job = start_training(config, ("train.lr=0.1",))
    job.set_tags(job_tags(parent, "abc", "0123"))
    job.finish()
    parent.finish("KILLED")
    again = sweep_run("abc", "sweep train.lr")
    assert again.run_id == parent.run_id
    assert store.get_run(parent.run_id).info.status == "RUNNING"
    assert job_runs(again, {"0123": None, "4567": None}) == {"0123": job.run_id}
    again.finish()
    assert store.get_run(parent.run_id).info.status == "FINISHED"
    assert store.get_run(job.run_id).data.tags["mlflow.parentRunId"] == parent.run_id
    other = sweep_run("def", "sweep train.lr")  # which has the same job, and no child
    assert other.run_id != parent.run_id
    experiment = sweep_runs.experiment_of(other)
    sweep_runs.announce_sweep(other, "def", ["train.lr"], {"best_val_loss": True}, experiment, [job.run_id])
    view = json.loads(store.get_experiment(experiment).tags["mlflow.sharedViewState.sightline-sweep-def"])
    shown = store.search_runs([experiment], view["searchFilter"])
    assert [run.info.run_id for run in shown] == [job.run_id]
    assert shown[0].data.tags["mlflow.parentRunId"] == parent.run_id


# --- MLflow away ---------------------------------------------------------------------------------------------------


def use_everything(tracker: Tracker, path: Path) -> None:
    """Calls all that a stage calls."""
    tracker.log_params({"a": "b"})
    tracker.start_system_metrics()
    tracker.log_epoch({"train_loss": 1.0}, 0)
    tracker.log_metrics({"a": 1.0})
    tracker.set_tags({"a": "b"})
    tracker.log_dataset("a", Path("data"), DIGEST, {}, "training")
    tracker.log_artifact(path)
    tracker.finish()


@pytest.mark.slow
def test_a_server_that_is_not_there_costs_one_warning_and_little_time(
    project: Path, config: DictConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:  # bound but not listening: connections to it are refused
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://someone:hunter2@{address}")
        began = time.monotonic()
        tracker = start_training(config, (), project / "marker")
        use_everything(tracker, project)
        took = time.monotonic() - began
        output = capsys.readouterr().err
        assert tracker.run_id is None
        assert took < 60
        warnings = [line for line in output.splitlines() if "tracking:" in line]
        assert len(warnings) == 1
        assert "the stage continues without it" in warnings[0]
        assert "hunter2" not in output
        assert not (project / "marker").exists()
    mlflow.set_tracking_uri(None)


@pytest.mark.slow
def test_evaluation_and_sweeps_go_on_without_a_server_too(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{taken.getsockname()[1]}")
        use_everything(resume_by_model(DIGEST, {}), project)
        assert capsys.readouterr().err.count("tracking: MLflow failed") == 1
        sweep = sweep_run("abc", "sweep train.lr")
        assert capsys.readouterr().err.count("tracking: MLflow failed") == 1
        assert "mlflow.parentRunId" not in job_tags(sweep, "abc", "0123")
        assert job_runs(sweep, {"0123": None}) == {}
        sweep.finish()
    mlflow.set_tracking_uri(None)


def test_a_store_that_fails_in_the_middle_costs_one_warning(
    store: Any, config: DictConfig, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tracker = start_training(config)
    tracker.log_epoch({"train_loss": 1.0}, 0)
    with sqlite3.connect(project / "mlflow.db") as database:
        database.execute("DROP TABLE metrics")
        database.execute("DROP TABLE latest_metrics")
    tracker.log_epoch({"train_loss": 0.5}, 1)
    assert tracker.run_id is None
    use_everything(tracker, project)
    output = capsys.readouterr().err
    assert output.count("tracking: MLflow failed") == 1


def test_a_store_that_cannot_be_opened_costs_one_warning(
    project: Path, config: DictConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "mlflow.db").write_bytes(b"this is no database" * 100)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project / 'mlflow.db'}")
    tracker = start_training(config)
    use_everything(tracker, project)
    assert tracker.run_id is None
    assert capsys.readouterr().err.count("tracking: MLflow failed") == 1
    mlflow.set_tracking_uri(None)


@pytest.mark.parametrize("uri", ["nonsense://x", "file:///tmp/mlruns-of-nobody"])
def test_an_address_that_mlflow_refuses_costs_one_warning(
    project: Path, config: DictConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], uri: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    use_everything(start_training(config), project)
    assert capsys.readouterr().err.count("tracking: MLflow failed") == 1
    mlflow.set_tracking_uri(None)


def test_no_usage_is_reported() -> None:
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


# --- the embedded store --------------------------------------------------------------------------------------------

FIRST_USE = """
import sys
from sightline.tracking import resume_by_model
print(resume_by_model(sys.argv[1], {}).run_id)
"""


@pytest.mark.full  # test_store.py has two projects that do
@pytest.mark.slow
def test_two_processes_may_make_the_store_at_the_same_time(project: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW")}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", FIRST_USE, digest * 64],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for digest in "ab"
    ]
    outputs = [process.communicate(timeout=240) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert not any("tracking:" in err for _, err in outputs), outputs
    store = mlflow.MlflowClient(tracking_uri=f"sqlite:///{project / 'mlflow.db'}")
    assert {run.info.run_id for run in all_runs(store)} == {out.strip() for out, _ in outputs}
    (experiment,) = [e for e in store.search_experiments() if e.name == tracking.EXPERIMENT]
    assert experiment.artifact_location.endswith("mlartifacts")
    assert sorted(p.name for p in project.iterdir() if not p.name.startswith(".")) == ["mlflow.db"]


def test_a_training_whose_run_is_gone_gets_another(store: Any, config: DictConfig, tmp_path: Path) -> None:
    marker = tmp_path / "run"
    first = start_training(config, marker=marker)
    assert start_training(config, marker=marker).run_id == first.run_id
    marker.write_text("0" * 32)
    second = start_training(config, marker=marker)
    assert second.run_id not in (None, first.run_id)
    assert marker.read_text() == second.run_id


def fitted(project: Path, answers: str, method: str = "dense", **settings: Any) -> tuple[str, dict[str, Any], Path]:
    """Returns what the stage says of a fitted baseline: its name, its settings, the file of its answers."""
    path = project / f"{method}.parquet"
    path.write_text(answers)
    return method, {"images": 3, **settings}, path


def test_a_baseline_is_a_run_of_its_own_however_often_it_is_run(store: Any, project: Path) -> None:
    config = compose([], ROOT / "conf")

    def run(answers: str, config: DictConfig = config, **settings: Any) -> Tracker:
        method, parameters, path = fitted(project, answers, **settings)
        tracker = tracking.baseline_run(method, config, parameters, path, data={"preprocess.size": "8"})
        tracker.log_metrics({"test_accuracy": 0.5})
        tracker.log_artifact(path)
        tracker.finish()
        return tracker

    first = run("one")
    found = the_run(store)
    assert found.info.run_id == first.run_id
    assert (found.info.run_name, found.info.status) == ("baseline dense", "FINISHED")
    assert found.data.tags[tracking.BASELINE_TAG] == "dense"
    assert found.data.metrics["test_accuracy"] == 0.5
    assert found.data.params["fitted.images"] == "3"
    assert found.data.params == {"fitted.images": "3", "preprocess.size": "8"}
    assert [file.path for file in store.list_artifacts(first.run_id)] == ["config", "dense.parquet"]
    kept = Path(store.download_artifacts(first.run_id, "config/baseline.json"))
    assert json.loads(kept.read_text()) == {"preprocess.size": "8", **flat_params(config, "baseline")}

    assert run("one").run_id == first.run_id
    assert run("one", compose(["train.lr=0.5"], ROOT / "conf")).run_id == first.run_id  # which has no part in it
    others = [run("two"), run("one", images=4), run("one", method="hog_svm")]
    others += [run("one", compose(["baseline.folds=4"], ROOT / "conf"))]
    assert len({first.run_id, *(other.run_id for other in others)}) == 5
    assert len(all_runs(store)) == 5


def test_all_baselines_together_cost_one_warning_where_mlflow_is_away(
    store: Any, config: DictConfig, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        away(patch, project)
        tracker = None
        for method in ("majority", "dense", "hog_svm"):
            name, parameters, path = fitted(project, "answers", method)
            tracker = tracking.baseline_run(name, config, parameters, path, tracker)
            tracker.log_metrics({"test_accuracy": 0.5})
            tracker.log_artifact(path)
            tracker.finish()
            assert tracker.run_id is None
    back(monkeypatch, project)
    assert capsys.readouterr().err.count("tracking: MLflow failed") == 1
    assert len(list(tracking.sync())) == 3
    runs = {run.data.tags[tracking.BASELINE_TAG]: run for run in all_runs(store)}
    assert set(runs) == {"majority", "dense", "hog_svm"}
    for method, run in runs.items():
        assert run.info.status == "FINISHED"
        assert run.data.metrics == {"test_accuracy": 0.5}
        assert run.data.params["fitted.images"] == "3"
        assert [file.path for file in store.list_artifacts(run.info.run_id)] == ["config", f"{method}.parquet"]


# --- telling it later ----------------------------------------------------------------------------------------------


def away(monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    """Makes the store one that cannot be opened."""
    (project / "broken.db").write_bytes(b"this is no database" * 100)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project / 'broken.db'}")


def back(monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    """Names the test's own store again: MLflow forgets it, and keeps a store open under a relative name."""
    mlflow.set_tracking_uri(None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project / 'mlflow.db'}")


def test_what_was_said_while_mlflow_was_away_is_told_later(
    store: Any, config: DictConfig, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        away(patch, project)
        training = start_training(config)
        training.start_system_metrics()
        for epoch, loss in enumerate((1.0, 0.5)):
            training.log_epoch({"train_loss": loss}, epoch)
        training.set_tags({tracking.MODEL_TAG: DIGEST})
        (project / "note.txt").write_text("as it was")
        training.log_artifact(project / "note.txt")
        training.log_dataset("digits", Path("data"), "d" * 64, {"train": 3}, "training")
        training.finish("FINISHED")
        evaluation = resume_by_model(DIGEST, {})
        evaluation.log_metrics({"test_accuracy": 0.9})
        evaluation.close()
        assert (training.run_id, evaluation.run_id) == (None, None)
        (project / "note.txt").write_text("as the next run left it")
        with pytest.raises(UserError, match=r"^MLflow failed .* then try again$"):
            list(tracking.sync())
    back(monkeypatch, project)
    assert len(list(tracking.sync())) == 2
    (run,) = all_runs(store)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["test_accuracy"] == 0.9
    assert [m.value for m in store.get_metric_history(run.info.run_id, "train_loss")] == [1.0, 0.5]
    assert run.data.params["train.model.name"] == "dense"
    kept = Path(store.download_artifacts(run.info.run_id, "config/train.json"))
    assert json.loads(kept.read_text()) == flat_params(config, "train")
    assert run.inputs.dataset_inputs[0].dataset.name == "digits"
    text = Path(store.download_artifacts(run.info.run_id, "note.txt", str(project))).read_text()
    assert text == "as it was"
    assert list(tracking.sync()) == []
    assert not list(offline_queue.FOLDER.glob("*"))
    assert capsys.readouterr().err.count("tracking: MLflow failed") == 2


def test_a_run_that_failed_half_way_is_completed(store: Any, config: DictConfig, project: Path) -> None:
    tracker = start_training(config)
    tracker.log_epoch({"train_loss": 1.0}, 0)
    database = project / "mlflow.db"
    with sqlite3.connect(database) as connection:
        connection.execute("ALTER TABLE metrics RENAME TO hidden")
    tracker.log_epoch({"train_loss": 0.5}, 1)
    tracker.finish("FINISHED")
    run_id = tracker._found_by["id"]  # type: ignore[index]
    with sqlite3.connect(database) as connection:
        connection.execute("ALTER TABLE hidden RENAME TO metrics")
    assert [line.split()[1] for line in tracking.sync()] == [f"{run_id}:"]
    assert [m.value for m in store.get_metric_history(run_id, "train_loss")] == [1.0, 0.5]
    assert store.get_run(run_id).info.status == "FINISHED"


def test_what_is_still_being_written_or_was_cut_off_is_no_fault(project: Path) -> None:
    writing = offline_queue.OfflineQueue({"new": "one", "tags": {}})
    assert list(offline_queue.finished()) == []
    cut = offline_queue.OfflineQueue({"new": "two", "tags": {}})
    cut.add("set_tags", {"tags": {"a": "b"}})
    folder = cut.folder
    cut.close()
    with (folder / offline_queue.CALLS).open("a") as stream:
        stream.write('{"method": "log_me')
    (entry,) = offline_queue.finished()
    assert entry.folder == folder
    assert entry.calls == [("set_tags", {"tags": {"a": "b"}})]
    writing.close()
    assert len(list(offline_queue.finished())) == 2
