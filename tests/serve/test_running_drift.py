"""Running drift of a server: told to Prometheus once enough images have come, without keeping one."""

from __future__ import annotations

import numpy as np
from prometheus_client import CollectorRegistry, generate_latest

from sightline.imaging import decode
from sightline.predict.bundle import Bundle
from sightline.serve.running_drift import EVERY, RunningDrift
from tests.exported import Project, project  # noqa: F401


def told(drift: RunningDrift) -> dict[str, float]:
    registry = CollectorRegistry()
    registry.register(drift)
    lines = generate_latest(registry).decode().splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


def test_other_images_than_in_the_test_drift(project: Project) -> None:  # noqa: F811
    bundle = Bundle.load(project.bundle)
    drift, dark = RunningDrift(bundle), RunningDrift(bundle)
    assert told(drift) == {"sightline_drift_images": 0}
    for path in [path for path in project.pictures for _ in range(EVERY)]:
        data = path.read_bytes()
        darker = decode.encode_png(decode.decode(data) // 3)
        for running, sent in ((drift, data), (dark, darker)):
            running.observe(sent, bundle.probabilities(bundle.prepare(sent)[None])[0])
    name = 'sightline_drift_p{statistic="brightness"}'
    assert told(drift)["sightline_drift_images"] == len(project.pictures)
    assert told(drift)[name] > 0.05
    assert told(dark)[name] < 0.001
    assert told(dark)['sightline_drift_size{statistic="brightness"}'] > 0.5


def test_a_bundle_without_a_reference_measures_nothing(project: Project) -> None:  # noqa: F811
    bundle = Bundle.load(project.bundle)
    bundle.reference = None
    drift = RunningDrift(bundle)
    drift.observe(b"", np.ones(10, np.float32))
    assert told(drift) == {"sightline_drift_images": 0}
