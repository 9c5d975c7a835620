"""Two models on one test set: found, checked, compared, told."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from sightline import tracking
from sightline.cli import app
from sightline.compare import comparison, page, run_predictions, run_sources
from sightline.core.errors import UserError
from sightline.datasets import predictions
from sightline.metrics import paired

ROOT = Path(__file__).parents[2]
CLASSES = ["a", "<b>", "c"]


def write(folder, wrong=(), ids=None, labels=None, classes=CLASSES):
    """Writes answers on 30 images, some of them wrong."""
    folder.mkdir(parents=True, exist_ok=True)
    ids = ids or [f"test-{i % 3:03d}-{i // 3:03d}" for i in range(30)]
    labels = np.arange(len(ids)) % 3 if labels is None else labels
    predicted = np.where(np.isin(np.arange(len(ids)), wrong), (labels + 1) % 3, labels)
    probabilities = np.eye(3)[predicted] * 0.7 + 0.1
    predictions.save_predictions(folder / "predictions.parquet", ids, labels, predicted, probabilities, classes)
    return str(folder)


@pytest.fixture
def runs(tmp_path):
    return write(tmp_path / "first" / "reports", [0, 1]), write(tmp_path / "second", [1, 2, 3, 4, 5, 6, 7, 8, 9])


def load(reference):
    """Returns a run's predictions, of the test split where it has those."""
    source = run_sources.open_run(reference)
    return source.read(source.splits()[0])


def test_a_folder_is_found_with_or_without_reports(runs, tmp_path):
    first = load(str(tmp_path / "first"))
    assert first.ids == sorted(first.ids) == load(runs[0]).ids
    assert first.classes == CLASSES
    assert first.correct.sum() == 28
    with pytest.raises(UserError, match=r"no predictions.parquet in this folder or its reports/"):
        load(str(tmp_path))
    (tmp_path / "predictions.parquet").write_text("text")
    with pytest.raises(UserError, match="is not a file of predictions"):
        load(str(tmp_path))


def test_reports_of_another_model_than_the_folders_are_refused(runs, tmp_path):
    model = tmp_path / "first" / "models" / "model.json"
    model.parent.mkdir()
    model.write_text('{"training": {"lr": 0.1}}')
    lock = tmp_path / "first" / "dvc.lock"
    digest = hashlib.md5(model.read_bytes(), usedforsecurity=False).hexdigest()
    lock.write_text(f"stages: {{evaluate: {{deps: [{{path: models/model.json, md5: {digest}}}]}}}}")
    assert load(str(tmp_path / "first")).correct.sum() == 28
    model.write_text('{"training": {"lr": 0.2}}')  # as after `dvc repro train` alone
    with pytest.raises(UserError, match=r"its reports belong to another model than .*model.json: dvc repro evaluate"):
        load(str(tmp_path / "first"))


def test_the_numbers_are_those_of_the_pairs(runs):
    a, b = map(load, runs)
    found = comparison.compare_models(a, b)
    assert found.p == paired.mcnemar(a.correct, b.correct) < 0.05
    assert found.difference == pytest.approx(7 / 30)
    assert found.interval[0] < found.difference < found.interval[1]
    assert (found.both_right, len(found.only_a), len(found.only_b), found.both_wrong) == (20, 8, 1, 1)
    assert comparison.compare_models(a, b) is not found
    assert comparison.compare_models(a, b).interval == found.interval
    accuracy = next(side for side in found.metrics if side.name == "accuracy")
    assert (accuracy.better, accuracy.a, accuracy.b) == (1, pytest.approx(28 / 30), pytest.approx(21 / 30))
    loss = next(side for side in found.metrics if side.name == "log_loss")
    assert loss.better == 1
    assert loss.a < loss.b
    assert found.verdict("A", "B").startswith("The better one is A: +23.3 points")
    assert (
        comparison.compare_models(b, a).verdict("B", "A").startswith("The better one is A: \N{MINUS SIGN}23.3 points")
    )
    assert "do not show which is better" in comparison.compare_models(a, a).verdict("A", "A")


def test_different_test_sets_are_refused(runs, tmp_path):
    a = load(runs[0])
    other = load(write(tmp_path / "ids", ids=[f"test-000-{i:03d}" for i in range(30)]))
    with pytest.raises(UserError, match=r"different images: 20 ids only in the first, 20 only in the second"):
        run_predictions.require_same(a, other)
    relabelled = load(write(tmp_path / "labels", labels=np.zeros(30, np.int64)))
    with pytest.raises(UserError, match="20 of 30 labels differ"):
        run_predictions.require_same(a, relabelled)
    renamed = load(write(tmp_path / "classes", classes=["x", "y", "z"]))
    with pytest.raises(UserError, match="have different classes: a, <b>, c and x, y, z"):
        run_predictions.require_same(a, renamed)


def test_images_are_shown_where_they_are(runs, make_set):
    pair = run_sources.load_pair(*runs)
    a, b = pair.a, pair.b
    data = make_set(CLASSES, per_split=10)
    found = comparison.compare_models(a, b)
    assert page.find_images(data.root, a) is not None
    assert page.find_images(data.root / "nowhere", a) is None
    with_images, without = page.render_page(pair, found, data.root), page.render_page(pair, found)
    assert with_images.count("<code>test-") == without.count("<code>test-") == 9
    assert with_images.count("<img") == without.count("<img") + 9
    assert "&lt;b&gt;" in without
    assert "<b></bdi>" not in without


def test_the_command_prints_a_table_and_writes_a_page(runs, tmp_path):
    result = CliRunner().invoke(app, ["compare", *runs, "--output", str(tmp_path / "c.html")])
    assert result.exit_code == 0, result.output
    assert "Accuracy" in result.output
    assert "only the first 8, only the second 1" in result.output
    assert "The better one is the first: +23.3 points" in result.output
    assert (tmp_path / "c.html").read_text().endswith("</html>\n")
    bad = CliRunner().invoke(app, ["compare", *runs, "--output", str(tmp_path / "no" / "\0")])
    assert bad.exit_code != 0


@pytest.fixture
def store(tmp_path, monkeypatch):
    """An empty project with a store of its own."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    return tracking.connect()


def test_runs_are_found_by_id_name_alias_and_version(runs, store, tmp_path):
    client, experiment = store
    ids = []
    for folder, name in zip(runs, ("first's", "other"), strict=True):
        run = client.create_run(experiment, run_name=name, tags={"sightline.model_sha256": "0f" * 32})
        client.log_artifact(run.info.run_id, f"{folder}/predictions.parquet")
        ids.append(run.info.run_id)
    client.create_registered_model("net")
    client.create_model_version("net", "mlartifacts", run_id=ids[0])
    client.set_registered_model_alias("net", "champion", "1")
    for reference in (ids[0], "first's", "models:/net@champion", "models:/net/1"):
        found = load(reference)
        assert found.correct.sum() == 28
        assert ("run", ids[0]) in found.about
        assert ("model", "0f" * 32) in found.about
    assert ("run", ids[0]) in load(ids[0][:7]).about
    assert load("models:/net@champion").name == "first's (models:/net@champion)"
    empty = client.create_run(experiment, run_name="empty").info.run_id
    for reference, message in {
        "nosuch": "nosuch: no folder, commit, or run of that id or name in sqlite:///mlflow.db",
        "0" * 32: "no such run",
        "models:/net@nobody": "no such run or registered model",
        "models:/net/7": "no such run or registered model",
        "models:/net": "models:/name@alias or models:/name/version",
        empty: "has no predictions.parquet: run the evaluate stage",
    }.items():
        with pytest.raises(UserError, match=r"^" + reference.replace("/", r"/")) as caught:
            load(reference)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)


def test_the_beginning_of_several_ids_is_one_line_that_names_them(store, monkeypatch):
    client, experiment = store
    with monkeypatch.context() as patch:
        for number in range(2):
            patch.setattr(uuid, "uuid4", lambda number=number: uuid.UUID(f"ccf64c3{number:025x}"))
            client.create_run(experiment)
    with pytest.raises(UserError, match=rf"^ccf64c3: several runs begin with this; .*: ccf64c3{0:025x}, ccf64c3"):
        tracking.find_run("ccf64c3")


def test_jobs_of_a_sweep_are_compared_by_their_validation_images(runs, store, tmp_path):
    client, experiment = store
    ids = []
    for folder, lr in zip(runs, ("0.1", "0.2"), strict=True):
        run = client.create_run(experiment, run_name="cnn", tags={"dvc.exp_name": f"exp-{lr}"})
        client.log_text(run.info.run_id, json.dumps({"train.lr": lr, "train.seed": "0"}), "config/train.json")
        (tmp_path / "val_predictions.parquet").write_bytes((Path(folder) / "predictions.parquet").read_bytes())
        client.log_artifact(run.info.run_id, str(tmp_path / "val_predictions.parquet"))
        ids.append(run.info.run_id)
    pair = run_sources.load_pair("exp-0.1", "cnn")  # of two that are called so the newest
    assert (pair.split, pair.settings) == ("validation", [("train.lr", "0.1", "0.2")])
    assert (pair.a.correct.sum(), pair.b.correct.sum()) == (28, 21)
    assert ("the newest of", "2 runs of this name") in pair.b.about
    lines = comparison.comparison_lines(pair, comparison.compare_models(pair.a, pair.b))
    assert "train.lr  0.1    0.2" in lines
    assert any(line.startswith("30 validation images: ") for line in lines)
    with pytest.raises(UserError, match=r"predictions for the test split, cnn for the validation split"):
        run_sources.load_pair(runs[0], ids[1])

    baseline = client.create_run(experiment, run_name="baseline dense", tags={tracking.BASELINE_TAG: "dense"})
    nameless = write(tmp_path / "dense", [0], classes=None)
    Path(nameless, "predictions.parquet").rename(tmp_path / "dense.parquet")
    client.log_artifact(baseline.info.run_id, str(tmp_path / "dense.parquet"))
    pair = run_sources.load_pair("baseline dense", runs[0])
    assert pair.a.classes == pair.b.classes == CLASSES
    assert not pair.settings_known


def model_json(lr):
    return json.dumps({"architecture": {"name": "cnn", "width": 32}, "training": {"lr": lr, "optimizer": {"lr": lr}}})


def test_a_model_is_called_by_its_name_not_by_a_dot(runs, tmp_path, monkeypatch):
    for folder, lr in ((tmp_path / "first", 0.1), (tmp_path / "other", 0.2)):
        (folder / "models").mkdir(parents=True)
        (folder / "models" / "model.json").write_text(model_json(lr))
    write(tmp_path / "other" / "reports")
    monkeypatch.chdir(tmp_path / "first")
    pair = run_sources.load_pair(".", "../other/reports")
    assert (pair.a.name, pair.b.name) == ("cnn lr=0.1 (first)", "cnn lr=0.2 (other)")
    assert pair.settings == [("train.lr", "0.1", "0.2")]


@pytest.mark.parametrize("own", [True, False], ids=["a clone", "a project of one's own"])
def test_two_commits_are_compared_by_what_dvc_kept_of_them(tmp_path, monkeypatch, own):
    monkeypatch.chdir(tmp_path)
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"):
        monkeypatch.setenv(name, "test@localhost")

    def run(*words):
        subprocess.run(words, check=True, capture_output=True)

    run("git", "init", "-q")
    run(sys.executable, "-m", "dvc", "init", "-q")
    if own:
        shutil.copytree(ROOT / "conf", "conf")
    for lr, wrong in ((0.1, [0, 1]), (0.2, [])):
        Path("params.yaml").write_text(f"train: {{model: dense, lr: {lr}}}\n")
        write(tmp_path / "reports", wrong)
        run(sys.executable, "-m", "dvc", "add", "-q", "reports/predictions.parquet")
        run("git", "add", "-A")
        run("git", "commit", "-qm", str(lr))
    pair = run_sources.load_pair("HEAD~1", "HEAD")
    assert (pair.a.name, pair.b.name) == ("dense lr=0.1 (HEAD~1)", "dense lr=0.2 (HEAD)")
    assert (pair.a.correct.sum(), pair.b.correct.sum()) == (28, 30)
    assert pair.settings == [("train.lr", "0.1", "0.2")]
    shutil.rmtree(".dvc/cache")
    with pytest.raises(
        UserError, match=r"^HEAD~1: reports/predictions.parquet of that commit is neither in DVC's"
    ) as error:
        run_sources.load_pair("HEAD~1", "HEAD")
    assert "\n" not in str(error.value)


def test_mlflow_away_is_one_line(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(UserError, match="set MLFLOW_TRACKING_URI to one that runs") as caught:
        load("a run")
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
