"""Running drift of a server: told to Prometheus once enough images have come, without keeping one."""

from __future__ import annotations

import time

import numpy as np
import requests
from prometheus_client import CollectorRegistry, generate_latest

from sightline.imaging import decode
from sightline.predict.bundle import Bundle
from sightline.predict.inference_model import Answer
from sightline.serve.running_drift import EVERY, RunningDrift
from tests.exported import Project
from tests.serve.conftest import serve


def exposed(drift: RunningDrift) -> dict[str, float]:
    registry = CollectorRegistry()
    registry.register(drift)
    lines = generate_latest(registry).decode().splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


def test_other_images_than_in_the_test_drift(exported: Project) -> None:
    bundle = Bundle.load(exported.bundle)
    drift, dark = RunningDrift(bundle), RunningDrift(bundle)
    assert exposed(drift) == {"sightline_drift_images": 0}
    for path in [path for path in exported.pictures for _ in range(EVERY)]:
        data = path.read_bytes()
        darker = decode.encode_png(decode.decode(data) // 3)
        for running, sent in ((drift, data), (dark, darker)):
            running.observe(sent, bundle.answers(bundle.prepare(sent)[None])[0])
    name = 'sightline_drift_p{statistic="brightness"}'
    assert exposed(drift)["sightline_drift_images"] == len(exported.pictures)
    assert exposed(drift)[name] > 0.05
    assert exposed(dark)[name] < 0.001
    assert exposed(dark)['sightline_drift_size{statistic="brightness"}'] > 0.5


def test_a_bundle_without_a_reference_measures_nothing(exported: Project) -> None:
    bundle = Bundle.load(exported.bundle)
    bundle.reference = None
    drift = RunningDrift(bundle)
    drift.observe(b"", Answer(np.ones(10, np.float32), None))
    assert exposed(drift) == {"sightline_drift_images": 0}


def test_a_server_tells_prometheus_of_the_images_that_it_was_sent(exported: Project) -> None:
    with serve(exported.bundle) as server:
        for path in [path for path in exported.pictures[:12] for _ in range(EVERY)]:
            sent = requests.post(
                f"{server.url}/predict", data=path.read_bytes(), headers={"content-type": "image/png"}, timeout=30
            )
            assert sent.status_code == 200
        deadline = time.monotonic() + 30  # an image is measured once its answer has gone out
        while "sightline_drift_size" not in (text := requests.get(f"{server.url}/metrics", timeout=30).text):
            assert time.monotonic() < deadline, text
            time.sleep(0.1)
        assert 'sightline_drift_p{statistic="brightness"}' in text
