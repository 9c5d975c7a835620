"""Prediction on a Ray cluster: the rows of this machine, whatever dies on the way."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sightline.core.errors import UserError
from sightline.predict import ray_batches
from sightline.predict.bundle import Bundle
from sightline.predict.inputs import Input
from sightline.predict.prediction import Prediction
from tests.cli.test_cli import run
from tests.clusters import ray_environment, two_nodes  # noqa: F401 - a fixture
from tests.exported import Project

DEATHS = "SIGHTLINE_TEST_DEATHS"


@pytest.fixture
def bundle(project: Project) -> Bundle:
    return Bundle.load(project.bundle)


def fatal_once(shipped: list[Any], images: list[Any]) -> ray_batches.BatchAnswer:
    """Computes a batch, but for the first process that begins one, which dies of it."""
    if os.environ.get(DEATHS):
        marker = Path(os.environ[DEATHS])
        try:
            marker.touch(exist_ok=False)
        except FileExistsError:
            pass
        else:
            os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.05)
    return ray_batches.run_batch(shipped, images)


@pytest.mark.slow
@pytest.mark.usefixtures("ray_environment")
def test_a_cluster_gives_the_same_rows_though_a_worker_and_a_node_die(
    project: Project, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bad := tmp_path / "bad.png").write_bytes(b"no image")
    kinds = [*project.pictures, bad, tmp_path / "gone.png", np.zeros((9, 7, 3), np.uint8)]
    given = list(itertools.islice(itertools.cycle(kinds), 1000))
    expected = list(bundle.predict(given, top_k=3, batch_size=16))
    assert {p.error for p in expected} == {None, "not_an_image", "missing"}

    deaths = tmp_path / "died"
    monkeypatch.setenv(DEATHS, str(deaths))
    monkeypatch.setattr(ray_batches, "run_batch", fatal_once)
    read = 0

    def counted() -> Any:
        nonlocal read
        for one in given:
            read += 1
            yield one

    with two_nodes() as (nodes, second):
        rows = bundle.predict(counted(), top_k=3, batch_size=16, backend="ray", address=nodes.address)
        made: list[Prediction] = list(itertools.islice(rows, 40))
        assert deaths.exists()
        assert read < 300, "more than a few batches are held"
        nodes.remove_node(second, allow_graceful=False)
        made += rows
        assert made == expected

        monkeypatch.undo()
        monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
        both = []
        for options in ([], ["--backend", "ray", "--address", nodes.address]):
            target = tmp_path / "rows.csv"
            assert run("predict", project.bundle, project.root / "pictures", bad, "-o", target, *options)[0] == 0
            both.append(target.read_bytes())
        assert both[0] == both[1]


def test_a_node_answers_as_this_machine_does(project: Project, bundle: Bundle) -> None:
    shipment = ray_batches.Shipment(bundle.model, bundle.network_files(), ray_batches.software())
    assert set(shipment.parts) == {"calibration.json", "contract.json", "classes.json", "model.onnx"}
    opened = ray_batches.OpenedModel()
    opened.open("reference", shipment)
    data = [path.read_bytes() for path in project.pictures[:5]]
    (*answers, refused) = opened.answers([*data, b"no image"])
    assert isinstance(refused, Exception)
    assert str(refused).startswith("not_an_image")
    local = bundle.answers(np.stack([bundle.prepare(one) for one in data]))
    for there, here in zip(answers, local, strict=True):
        assert np.array_equal(there.probabilities, here.probabilities)
        assert there.novelty == here.novelty


def test_another_version_on_a_node_is_one_line(bundle: Bundle) -> None:
    opened = ray_batches.OpenedModel()
    opened.open("reference", ray_batches.Shipment(bundle.model, bundle.network_files(), "other"))
    assert opened.model is None
    batch = ray_batches.Batch([(Input("a", lambda: b""), b"")], ray_batches.BatchAnswer(opened.version, []), 0)
    with pytest.raises(UserError, match=r"--backend ray: a node has another version of Sightline, ONNX Runtime"):
        list(ray_batches.delivered(_Ray, batch, "other"))


class _Ray:
    @staticmethod
    def get(reference: Any) -> Any:
        return reference


def test_what_ray_lacks_is_one_line(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    code, _, err = run("predict", project.bundle, project.pictures[0], "--backend", "ray")
    assert code == 2
    assert "--backend ray: Ray is not installed: pip install" in err
    code, _, err = run("predict", project.bundle, project.pictures[0], "--address", "auto")
    assert code == 2
    assert "--address is for a Ray cluster: add --backend ray" in err
