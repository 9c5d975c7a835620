from __future__ import annotations

import base64
import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sightline import tracking
from sightline.core import files
from sightline.core.errors import UserError
from sightline.predict.bundle import Bundle
from sightline.promote import lineage, promote
from sightline.promote.config import PromoteConfig
from sightline.tracking.model_registry import ModelRegistry
from tests.exported import Project
from tests.promote.conftest import Candidate

Make = Callable[..., Candidate]


def ask(candidate: Candidate, policy: PromoteConfig, force: str | None = None) -> promote.Promotion:
    return promote.promote(candidate.bundle, candidate.predictions, policy, force)


def number(policy: PromoteConfig, alias: str) -> int | None:
    version = ModelRegistry(policy.name).by_alias(alias)
    return None if version is None else version.number


def test_the_first_good_one_becomes_the_champion_and_again_changes_nothing(make: Make, policy: PromoteConfig) -> None:
    candidate = make()
    done = ask(candidate, policy)
    assert (done.promoted, done.forced, done.replaced, done.version.number) == (True, False, None, 1)
    assert done.version.aliases == ["challenger", "champion"]
    assert done.version.tags["sightline.decision"] == "promoted"
    assert done.version.tags["sightline.bundle_sha256"] == files.sha256_file(candidate.bundle / "manifest.json")
    again = ask(candidate, policy)
    assert (again.promoted, again.decision, again.version.number) == (True, None, 1)
    assert promote.outcome_lines(again, policy.name) == [f"{policy.name} version 1 is the champion already"]


def test_a_worse_one_is_held_back_a_better_one_replaces_and_force_is_recorded(
    make: Make, policy: PromoteConfig
) -> None:
    middle, worse, better = make("middle", wrong=10), make("worse", wrong=40), make("better")
    assert ask(middle, policy).promoted

    promotion = ask(worse, policy)
    assert (promotion.promoted, promotion.version.number) == (False, 2)
    assert promotion.decision
    assert any("accuracy minus the champion's" in reason for reason in promotion.decision.reasons)
    assert (number(policy, "champion"), number(policy, "challenger")) == (1, 2)
    assert promotion.version.tags["sightline.decision"] == "held back"
    assert promotion.version.tags["sightline.decided_against"] == "1"
    assert json.loads(promotion.version.tags["sightline.reasons"]) == list(promotion.decision.reasons)

    done = ask(better, policy)
    assert (done.promoted, done.replaced, done.version.number) == (True, 1, 3)
    assert number(policy, "champion") == 3

    forced = ask(worse, policy, "the others fail on the new camera")
    assert (forced.promoted, forced.forced, forced.replaced, forced.version.number) == (True, True, 3, 2)
    assert number(policy, "champion") == 2
    record = lineage.trace(ModelRegistry(policy.name), "champion")["promotion"]
    assert record["decision"] == "forced"
    assert record["force_reason"] == "the others fail on the new camera"
    assert record["decided_by"]
    assert record["reasons"]
    assert "by force, in place of version 3, in spite of:" in promote.outcome_lines(forced, policy.name)[0]


def test_a_bundle_that_is_too_bad_even_alone(make: Make, policy: PromoteConfig) -> None:
    promotion = ask(make(wrong=60), policy)
    assert not promotion.promoted
    assert number(policy, "champion") is None
    # With a looser policy the same version is asked about again, and not registered twice.
    loose = dataclasses.replace(policy, min_accuracy=0.1, min_class_recall=0.0)
    assert ask(make("again", wrong=60), loose).version.number == 1


def test_another_test_set_is_held_back_and_a_longer_one_compared(make: Make, policy: PromoteConfig) -> None:
    assert ask(make("few", images=100), policy).promoted
    grown = ask(make("all"), policy)
    assert grown.promoted
    assert grown.decision
    assert grown.decision.facts["common_images"] == 100
    promotion = ask(make("fewer", images=30), policy)
    assert promotion.decision
    assert any("this test split has 30, too few to compare" in reason for reason in promotion.decision.reasons)


def test_predictions_of_another_model_are_refused(make: Make, policy: PromoteConfig) -> None:
    one, two = make("one"), make("two", wrong=3)
    with pytest.raises(UserError, match=r"are not the predictions that .* was exported with"):
        ask(Candidate(one.bundle, two.predictions), policy)
    with pytest.raises(UserError, match=r"gone.parquet is missing"):
        ask(Candidate(one.bundle, Path("gone.parquet")), policy)
    assert number(policy, "challenger") is None


def test_a_damaged_bundle_is_refused(make: Make, policy: PromoteConfig) -> None:
    candidate = make()
    (candidate.bundle / "model.onnx").write_bytes(b"other")
    with pytest.raises(UserError, match="is damaged"):
        ask(candidate, policy)


def test_a_champion_that_cannot_be_read_holds_back_and_force_gets_past_it(
    make: Make, policy: PromoteConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = make("old"), make("new", wrong=1)
    assert ask(old, policy).promoted
    registry = ModelRegistry(policy.name)
    champion = registry.by_alias("champion")
    assert champion
    source = registry._client.get_model_version_download_uri(policy.name, "1")
    (Path(source) / "artifacts" / "bundle" / "classes.json").write_text("{}")
    promotion = ask(new, policy)
    assert promotion.decision
    assert "version 1, cannot be judged" in promotion.decision.reasons[0]
    assert ask(new, policy, "the old one is broken").promoted


def test_force_needs_a_reason(make: Make, policy: PromoteConfig) -> None:
    with pytest.raises(UserError, match="needs a --reason"):
        ask(make(), policy, "  ")


def test_mlflow_that_is_away_is_one_line(make: Make, policy: PromoteConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:hunter2@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(UserError) as caught:
        ask(make(), policy)
    assert str(caught.value).startswith("MLflow failed (http://***@127.0.0.1:9: ")
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_version_says_which_data_commit_and_parameters_made_it(
    project: Project, make: Make, policy: PromoteConfig
) -> None:
    client, experiment = tracking.connect()
    digest = files.sha256_file(project.model / "model.safetensors")
    run_id = tracking.run_of_model(client, experiment, digest, {})
    ended = client.get_run(run_id).info.end_time
    client.log_param(run_id, f"train.lr.{policy.name[:20]}", "0.002")
    settings = {"train.seed": "0", "train.model.name": "cnn", "preprocess.size": "8"}
    client.log_text(run_id, json.dumps(settings), "config/train.json")
    client.log_metric(run_id, "test_accuracy", 0.81)
    client.set_tag(run_id, "mlflow.source.git.commit", "abc123")
    client.set_tag(run_id, "git.dirty", "true")
    ask(make(), policy)
    traced = lineage.trace(ModelRegistry(policy.name), "1")
    assert traced["run_id"] == run_id
    assert client.get_run(run_id).info.end_time == ended  # to register is no part of the training
    assert traced["commit"] == "abc123"
    assert traced["uncommitted_changes"] is True
    assert traced["parameters"][f"train.lr.{policy.name[:20]}"] == "0.002"
    assert settings.items() <= traced["parameters"].items()  # the defaults as well, which are no parameters of the run
    assert not set(settings) & set(traced["distinct_parameters"])
    assert traced["metrics"]["test_accuracy"] == 0.81
    assert traced["model_sha256"] == digest
    manifest = json.loads((project.bundle / "manifest.json").read_text())
    assert traced["data_sha256"] == manifest["lineage"]["data_sha256"]
    assert len(lineage.lineage_lines(traced)) <= 12
    short = "\n".join(lineage.lineage_lines(traced))
    for word in (digest, "abc123, with uncommitted changes", "test_accuracy 0.81", "promoted by", "--all"):
        assert word in short
    text = "\n".join(lineage.all_lines(traced))
    for word in (digest, "abc123, with uncommitted changes", "0.002", "test_accuracy = 0.81", "promoted by"):
        assert word in text
    assert json.loads(files.canonical_json(traced)) == traced

    with pytest.raises(UserError, match=f"{policy.name}' has no version 7: there are 1"):
        lineage.trace(ModelRegistry(policy.name), "7")
    aliases = r"no version with the alias 'best': there are challenger \(version 1\), champion \(version 1\)$"
    with pytest.raises(UserError, match=aliases):
        lineage.trace(ModelRegistry(policy.name), "best")


def test_there_is_no_version_yet(policy: PromoteConfig) -> None:
    with pytest.raises(UserError, match="there are none yet; `sightline promote` makes one"):
        lineage.trace(ModelRegistry(policy.name), "1")
    with pytest.raises(UserError, match="the alias 'champion': there are none yet; `sightline promote` reg"):
        lineage.trace(ModelRegistry(policy.name), "@champion")


def test_mlflow_loads_what_was_registered_without_pickle(
    project: Project, make: Make, policy: PromoteConfig, place: Path
) -> None:
    import mlflow
    import pandas as pd

    ask(make(), policy)
    model = mlflow.pyfunc.load_model(f"models:/{policy.name}@champion")  # the fixture forbids it to unpickle
    pictures = [path.read_bytes() for path in project.pictures[:3]]
    column = [pictures[0], base64.b64encode(pictures[1]).decode(), b"no image", "no base64!", pictures[2]]
    rows = model.predict(pd.DataFrame({"image": pd.Series(column, dtype=object)})).to_dict("records")
    expected = list(Bundle.load(project.bundle).predict(project.pictures[:3], top_k=10))
    for row, prediction in zip([rows[0], rows[1], rows[4]], expected, strict=True):
        assert row["label"] == prediction.label
        assert row["probability"] == pytest.approx(prediction.probability, abs=1e-6)
        assert dict(zip("0123456789", row["probabilities"], strict=True)) == pytest.approx(
            dict(prediction.top), abs=1e-6
        )
    assert rows[2]["error"].startswith("not_an_image")
    assert rows[3] == {"label": None, "probability": None, "probabilities": None, "novelty": None,
                       "class_set": None, "error": "not_an_image: text that is not base64"}  # fmt: skip
    assert [row["class_set"] for row in rows] == [None] * 5
    sets = model.predict(pd.DataFrame({"image": pictures}), params={"coverage": 0.9})["class_set"]
    asked = Bundle.load(project.bundle).predict(project.pictures[:3], coverage=0.9)
    assert [tuple(one) for one in sets] == [prediction.class_set for prediction in asked]
    assert model.metadata.signature.inputs.input_names() == ["image"]
    stored = [path.name for path in place.rglob("*") if path.is_file()]
    assert not [name for name in stored if name.endswith((".pkl", ".pickle", ".pth"))]
    assert "pyfunc_model.py" in stored


ELSEWHERE = """
import json, sys
sys.path[:] = [entry for entry in sys.path if entry] + [{packages!r}]
import importlib.util
installed = importlib.util.find_spec("sightline")
if installed and installed.origin:  # an editable install leaves a folder of conf/ alone
    raise SystemExit(f"sightline is installed here: {{installed.origin}}")
import mlflow, pandas as pd
model = mlflow.pyfunc.load_model({uri!r})
picture = open({picture!r}, "rb").read()
rows = model.predict(pd.DataFrame({{"image": [picture]}})).to_dict("records")
import sightline
print(json.dumps([rows[0]["label"], sightline.__file__]))
"""


def test_a_version_carries_its_code_to_where_the_package_is_not_installed(
    project: Project, make: Make, policy: PromoteConfig, place: Path, tmp_path: Path
) -> None:
    import mlflow
    import numpy as np

    ask(make(), policy)
    carried = Path(mlflow.artifacts.download_artifacts(f"models:/{policy.name}@champion", dst_path=str(tmp_path)))
    requirements = (carried / "requirements.txt").read_text().split()
    assert not [line for line in requirements if "sightline" in line]
    assert {"numpy", "onnxruntime", "mlflow"} <= {line.partition("==")[0] for line in requirements}
    assert "sightline" not in (carried / "conda.yaml").read_text()
    assert not list(carried.rglob("__pycache__"))

    # Without `site`, no .pth file puts an editable install on the path.
    packages = Path(np.__file__).parents[1]
    code = ELSEWHERE.format(packages=str(packages), uri=str(carried), picture=str(project.pictures[0]))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=tmp_path, env=environment, capture_output=True,
                          text=True, check=False, timeout=120)  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    label, home = json.loads(done.stdout.splitlines()[-1])
    assert label == next(iter(Bundle.load(project.bundle).predict(project.pictures[:1]))).label
    assert Path(home).is_relative_to(carried / "code")
