"""Speed-up of 8-bit integers over 32-bit floats with ONNX Runtime on this machine.

    python benchmarks/int8.py

Measures resnet18 and a MobileNet at 64 x 64 pixels, with batches of 1 and 32. The weights are random, since the speed
does not depend on them. The two forms take turns, and their medians are compared. Target: resnet18 at least twice as
fast.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import torch
import yaml

from sightline.models.classifier import build_classifier
from sightline.models.options import MODELS
from sightline.predict.inference_model import open_session
from sightline.stages.export import latency
from sightline.stages.export.int8 import to_int8
from sightline.stages.export.onnx import INPUT, to_onnx

TARGET = 2.0
SHAPE = (64, 64, 3)
CONF = Path(__file__).parents[1] / "conf" / "train" / "model"


def measure(name: str) -> dict[int, float]:
    """Prints the sizes and median latencies of a network's two forms, and returns the speed-up by batch size."""
    content = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    option = MODELS[name](**{**content, "weights": None})
    torch.manual_seed(0)
    classifier = build_classifier(option, SHAPE, 10, [0.5] * 3, [0.25] * 3)
    images = np.random.default_rng(0).integers(0, 256, (64, *SHAPE), np.uint8)
    forms = {"fp32": to_onnx(classifier, SHAPE, 20)}
    forms["int8"] = to_int8(forms["fp32"], images)
    sessions = {form: open_session(model, 0) for form, model in forms.items()}
    networks = {form: (lambda x, s=session: s.run(None, {INPUT: x})) for form, session in sessions.items()}
    found = latency.latencies(networks, images)
    for form, times in found.items():
        cells = "".join(f"{1000 * seconds:>10.2f}" for seconds in times.values())
        print(f"{name:14}{form:6}{len(forms[form]) / 1e6:>8.2f}{cells}")
    return {size: found["fp32"][size] / found["int8"][size] for size in latency.BATCHES}


def main() -> None:
    """Measures both networks; the exit code is 0 if the target is reached and 1 otherwise."""
    print(f"{'network':14}{'form':6}{'MB':>8}" + "".join(f"{f'ms, {size}':>10}" for size in latency.BATCHES))
    ratios = {name: measure(name) for name in ("resnet18", "mobilenet_v3")}
    for name, ratio in ratios.items():
        print(f"{name}: int8 is " + ", ".join(f"{r:.2f} times as fast for {size}" for size, r in ratio.items()))
    reached = min(ratios["resnet18"].values()) >= TARGET
    load = os.getloadavg()[0]
    verdict = "reached" if reached else "missed"
    print(f"target {TARGET:g} times for resnet18: {verdict} ({os.cpu_count()} cores, load {load:.1f} of 1 minute)")
    sys.exit(not reached)


if __name__ == "__main__":
    main()
