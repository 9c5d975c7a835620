"""The memory that an image costs is bounded by its number of pixels, whatever its shape."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.config.compose import compose, typed
from sightline.imaging import decode
from sightline.imaging.transform import steps
from sightline.stages.ingest.image_quality import measure_quality
from sightline.stages.preprocess.config import PreprocessConfig
from sightline.stages.preprocess.stage import build_transform
from tests.stages.ingest.helpers import picture, tree

ROOT = Path(__file__).parents[2]
BYTES_A_PIXEL, ROOM = 128, 24 * 2**20
"""Memory that the costliest step (total variation, in colour) takes by the pixel, and what any image may take."""

SHAPES = [(1, 2**17), (2**17, 1), (2, 2**16), (3, 40_000), (360, 360)]
OPTIONS = [(step, name) for step, named in steps.STEPS.items() for name in named if name != "none"]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="peaks are measured by Linux's /proc")


def status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(key))


def peak_of(work: Callable[[], Any]) -> int:
    """Returns by how many bytes the process was largest above what it began with."""
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak
    before = status("VmRSS")
    work()
    return status("VmHWM") - before


def over(height: int, width: int, work: Callable[[np.ndarray], Any]) -> str:
    """Says by how much the work on an image takes more than it may; nothing if it does not."""
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    peak, allowed = peak_of(lambda: work(image)), ROOM + BYTES_A_PIXEL * height * width
    return f"{height} x {width}: {peak / 2**20:.0f} MiB, allowed {allowed / 2**20:.0f}" if peak > allowed else ""


@settings(max_examples=60, deadline=None)
@given(area=st.floats(0, 20), longer=st.floats(0.5, 1), upright=st.booleans())
def test_looking_is_bounded(area: float, longer: float, upright: bool):
    side = round(2 ** (area * longer))
    shape = (side, max(1, round(2**area / side)))
    fault = over(*(shape if upright else shape[::-1]), lambda image: measure_quality(image[:, :, 0]))
    assert not fault


@pytest.mark.parametrize(("step", "name"), OPTIONS, ids=["-".join(option) for option in OPTIONS])
def test_every_step_is_bounded(step: str, name: str):
    section = compose([f"preprocess/{step}={name}", "preprocess.channels=3"]).preprocess
    transform = build_transform(typed(PreprocessConfig, section, "preprocess"))
    assert [fault for shape in SHAPES if (fault := over(*shape, transform.run))] == []


@pytest.mark.parametrize("workers", [0, 1])
def test_a_thin_picture_is_taken(workers: int, tmp_path: Path):
    """144 bytes of 65000 x 1 pixels asked for 31 GiB; here the stage may have 3 GiB, its libraries included."""
    rows = np.random.default_rng(0).integers(0, 256, (65_000, 1, 1), np.uint8)
    tree(
        tmp_path / "in",
        {"a/tall.png": decode.encode_png(rows), "b/wide.png": decode.encode_png(rows.reshape(1, -1, 1))},
    )
    tree(tmp_path / "in", {f"{'ab'[n % 2]}/{n}.png": picture(n) for n in range(4)})
    code = (
        "import json, resource, sys; from pathlib import Path; resource.setrlimit(resource.RLIMIT_AS, [3 * 2**30] * 2);"
        "from tests.stages.ingest.helpers import run; from sightline.sources.folder import FolderSource;"
        "made = run(FolderSource(Path(sys.argv[1]), 2**25), Path(sys.argv[2]), workers=int(sys.argv[3]));"
        "print(json.dumps([made.summary, made.rejected]))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "in"), str(tmp_path / "out"), str(workers)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    summary, rejected = json.loads(done.stdout)
    assert (summary["accepted"], rejected) == (6, {})
    assert summary["audit"]["odd_shape"]["images"] == 2
