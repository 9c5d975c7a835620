"""Two models on one test set: found, checked, compared, told."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

from sightline import tracking
from sightline.cli import app
from sightline.compare import comparison, page, run_predictions
from sightline.core.errors import UserError
from sightline.datasets import predictions
from sightline.metrics import paired

CLASSES = ["a", "<b>", "c"]


def write(folder, wrong=(), ids=None, labels=None, classes=CLASSES):
    """Writes answers on 30 images, some of them wrong."""
    folder.mkdir(parents=True, exist_ok=True)
    ids = ids or [f"test-{i % 3:03d}-{i // 3:03d}" for i in range(30)]
    labels = np.arange(len(ids)) % 3 if labels is None else labels
    predicted = np.where(np.isin(np.arange(len(ids)), wrong), (labels + 1) % 3, labels)
    probabilities = np.eye(3)[predicted] * 0.7 + 0.1
    predictions.write(folder / "predictions.parquet", ids, labels, predicted, probabilities, classes)
    return str(folder)


@pytest.fixture
def runs(tmp_path):
    return write(tmp_path / "first" / "reports", [0, 1]), write(tmp_path / "second", [1, 2, 3, 4, 5, 6, 7, 8, 9])


def test_a_folder_is_found_with_or_without_reports(runs, tmp_path):
    first = run_predictions.load_run(str(tmp_path / "first"))
    assert first.ids == sorted(first.ids) == run_predictions.load_run(runs[0]).ids
    assert first.classes == CLASSES
    assert first.correct.sum() == 28
    with pytest.raises(UserError, match=r"no predictions.parquet in this folder or its reports/"):
        run_predictions.load_run(str(tmp_path))
    (tmp_path / "predictions.parquet").write_text("text")
    with pytest.raises(UserError, match="is no file of predictions"):
        run_predictions.load_run(str(tmp_path))


def test_the_numbers_are_those_of_the_pairs(runs):
    a, b = map(run_predictions.load_run, runs)
    found = comparison.compare(a, b)
    assert found.p == paired.mcnemar(a.correct, b.correct) < 0.05
    assert found.difference == pytest.approx(7 / 30)
    assert found.interval[0] < found.difference < found.interval[1]
    assert (found.both_right, len(found.only_a), len(found.only_b), found.both_wrong) == (20, 8, 1, 1)
    assert comparison.compare(a, b) is not found
    assert comparison.compare(a, b).interval == found.interval
    accuracy = next(side for side in found.metrics if side.name == "accuracy")
    assert (accuracy.better, accuracy.a, accuracy.b) == (1, pytest.approx(28 / 30), pytest.approx(21 / 30))
    loss = next(side for side in found.metrics if side.name == "log_loss")
    assert loss.better == 1
    assert loss.a < loss.b
    assert found.verdict("A", "B").startswith("The better one is A: +23.3 points")
    assert comparison.compare(b, a).verdict("B", "A").startswith("The better one is A: \N{MINUS SIGN}23.3 points")
    assert "do not show which is better" in comparison.compare(a, a).verdict("A", "A")


def test_different_test_sets_are_refused(runs, tmp_path):
    a = run_predictions.load_run(runs[0])
    other = run_predictions.load_run(write(tmp_path / "ids", ids=[f"test-000-{i:03d}" for i in range(30)]))
    with pytest.raises(UserError, match=r"different test sets: 20 ids only in the first, 20 only in the second"):
        run_predictions.require_same(a, other)
    relabelled = run_predictions.load_run(write(tmp_path / "labels", labels=np.zeros(30, np.int64)))
    with pytest.raises(UserError, match="20 of 30 labels differ"):
        run_predictions.require_same(a, relabelled)
    renamed = run_predictions.load_run(write(tmp_path / "classes", classes=["x", "y", "z"]))
    with pytest.raises(UserError, match="know different classes: a, <b>, c and x, y, z"):
        run_predictions.require_same(a, renamed)


def test_images_are_shown_where_they_are(runs, make_set):
    a, b = map(run_predictions.load_run, runs)
    data = make_set(CLASSES, per_split=10)
    found = comparison.compare(a, b)
    assert page.find_images(data.root, a) is not None
    assert page.find_images(data.root / "nowhere", a) is None
    with_images, without = page.render_page(a, b, found, data.root), page.render_page(a, b, found)
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
        found = run_predictions.load_run(reference)
        assert found.correct.sum() == 28
        assert ("run", ids[0]) in found.about
        assert ("model", "0f" * 32) in found.about
    assert run_predictions.load_run("models:/net@champion").name == "models:/net@champion (first's)"
    empty = client.create_run(experiment, run_name="empty").info.run_id
    client.create_run(experiment, run_name="other")
    for reference, said in {
        "nosuch": "nosuch: no folder, and no run of that id or name in sqlite:///mlflow.db",
        "0" * 32: "no such run",
        "models:/net@nobody": "no such run or registered model",
        "models:/net/7": "no such run or registered model",
        "models:/net": "models:/name@alias or models:/name/version",
        "other": "several runs have this name, give an id; newest first: ",
        empty: "has no predictions.parquet: run the evaluate stage",
    }.items():
        with pytest.raises(UserError, match=r"^" + reference.replace("/", r"/")) as caught:
            run_predictions.load_run(reference)
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)


def test_mlflow_away_is_one_line(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(UserError, match="set MLFLOW_TRACKING_URI to one that runs") as caught:
        run_predictions.load_run("a run")
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
