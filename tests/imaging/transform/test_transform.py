"""The transform as a whole: pure, of one shape, rebuilt from its file to the same bits."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.config.schema import Option
from sightline.core.rejection import RejectionError, RejectionReason
from sightline.imaging import decode, image_file
from sightline.imaging.transform.pipeline import SEGMENT_FALLBACK, Transform
from sightline.imaging.transform.steps import STEPS

FULL = {"denoise": "median", "enhance": "clahe", "resize": "pad"}


@pytest.fixture
def full(build: Callable[..., Transform], option: Callable[..., Option]) -> Transform:
    """A transform in which every step does something."""
    return build(
        clean=option("clean", "lab", trim_borders=True), segment=option("segment", "grabcut", use="channel"), **FULL
    )


def test_shape_and_channel_names(build: Callable[..., Transform], option: Callable[..., Option]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    masked = option("segment", "threshold", use="channel")
    for transform, names in [
        (build(), ["red", "green", "blue"]),
        (build(segment=masked), ["red", "green", "blue", "mask"]),
        (build(clean="hsv", segment=masked), ["hue", "saturation", "value", "mask"]),
        (build(clean=option("clean", "lab", color="b")), ["b"]),
        (build(clean="grey", segment=masked), ["grey", "mask"]),
    ]:
        assert transform.channel_names == names
        assert transform.shape == transform(image).shape == (32, 32, len(names))
    grey = build(channels=1, clean="grey", segment=masked)
    assert grey.channel_names == ["grey", "mask"]
    assert grey(image[:, :, :1]).shape == grey.shape


def test_decode_is_images_decode_and_the_steps(full: Transform, scene: np.ndarray) -> None:
    data = decode.encode_png(scene)
    np.testing.assert_array_equal(full.decode(data), full(scene))
    clear = decode.encode_png(np.dstack([scene, np.zeros_like(scene[:, :, 0])]))
    assert Transform.from_dict(full.to_dict()).decode(clear).shape == full.shape
    with pytest.raises(RejectionError):
        full.decode(data, image_file.Limits(max_pixels=10))


def test_transparent_pixels_and_padding_have_the_same_background(build: Callable[..., Transform]) -> None:
    transform = build(size=8, background=(200, 0, 50), resize="pad")
    clear = decode.encode_png(np.zeros((4, 8, 4), np.uint8))
    assert (transform.decode(clear) == (200, 0, 50)).all()


def test_trace_shows_every_step_that_does_something(
    full: Transform, build: Callable[..., Transform], scene: np.ndarray
) -> None:
    names = [name for name, _ in full.trace(scene)]
    assert names == ["original", "clean", "denoise", "enhance", "segment", "resize", "color"]
    np.testing.assert_array_equal(full.trace(scene)[-1][1], full(scene))
    np.testing.assert_array_equal(full.trace(scene)[0][1], scene)
    assert [name for name, _ in build(denoise="median").trace(scene)] == ["original", "denoise", "resize"]


def test_fallbacks_are_counted(build: Callable[..., Transform], scene: np.ndarray) -> None:
    transform = build(segment="threshold")
    assert transform.run(np.full((9, 9, 3), 5, np.uint8))[1] == [SEGMENT_FALLBACK]
    assert transform.run(scene)[1] == []


def test_blank_images_are_refused_where_asked(build: Callable[..., Transform]) -> None:
    with pytest.raises(RejectionError) as caught:
        build(clean="standard").decode(decode.encode_png(np.full((9, 9, 3), 5, np.uint8)))
    assert caught.value.reason == RejectionReason.BLANK


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8), np.zeros((4, 4, 1), np.uint8), np.zeros((0, 4, 3), np.uint8)],
)
def test_what_is_no_decoded_image_is_a_mistake(image: np.ndarray, build: Callable[..., Transform]) -> None:
    with pytest.raises(ValueError, match="is not uint8"):
        build()(image)


# --- all options, odd shapes -----------------------------------------------------------------------------------------

CHOICES = {
    step: [(name, use) for name in names for use in (("mask", "crop", "channel") if step == "segment" else ("",))]
    for step, names in STEPS.items()
}


@st.composite
def pictures(draw: st.DrawFn) -> np.ndarray:
    height, width = draw(st.tuples(*[st.one_of(st.integers(1, 9), st.integers(1, 70))] * 2))
    channels = draw(st.sampled_from([1, 3]))
    kind = draw(st.sampled_from(["noise", "flat", "halves", "ramp"]))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    image = np.full((height, width, channels), rng.integers(0, 256), np.uint8)
    if kind == "noise":
        image = rng.integers(0, 256, image.shape, dtype=np.uint8)
    elif kind == "halves":
        image[: height // 2] = rng.integers(0, 256)
    elif kind == "ramp":
        image[:] = np.linspace(0, 255, width).astype(np.uint8)[None, :, None]
    return image


@settings(max_examples=250, deadline=None)
@given(image=pictures(), size=st.integers(1, 40), data=st.data())
def test_any_options_on_any_image_are_a_pure_function_of_fixed_shape(
    image: np.ndarray,
    size: int,
    data: st.DataObject,
    build: Callable[..., Transform],
    option: Callable[..., Option],
) -> None:
    chosen = {}
    for step, choices in CHOICES.items():
        name, use = data.draw(st.sampled_from(choices), step)
        if image.shape[2] == 1 and name in ("hsv", "lab"):
            name = "trim"
        chosen[step] = option(step, name, **({"use": use} if use and name != "none" else {}))
    transform = build(size, image.shape[2], **chosen)
    before = image.copy()
    image.flags.writeable = False
    try:
        result = transform(image)
    except RejectionError as refused:
        assert refused.reason == RejectionReason.BLANK  # noqa: PT017
        return
    assert result.shape == transform.shape
    assert result.dtype == np.uint8
    assert result.flags.c_contiguous
    assert not np.shares_memory(result, image)
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(Transform.from_dict(json.loads(json.dumps(transform.to_dict())))(image), result)


@pytest.mark.parametrize(("step", "name"), [(step, name) for step, names in STEPS.items() for name in names])
def test_very_long_images(step: str, name: str, build: Callable[..., Transform], option: Callable[..., Option]) -> None:
    for shape in ((1, 40_000, 3), (40_000, 1, 3)):
        image = np.zeros(shape, np.uint8)
        image.reshape(-1, 3)[::7] = (9, 99, 199)
        assert build(**{step: option(step, name)})(image).shape == (32, 32, build(**{step: name}).shape[2])


def test_threads_do_not_matter(full: Transform, scene: np.ndarray) -> None:
    many = [np.ascontiguousarray(np.roll(scene, n, axis=1)) for n in range(12)]
    alone = [full(image) for image in many]
    with ThreadPoolExecutor(4) as pool:
        for expected, result in zip(alone, pool.map(full, many), strict=True):
            np.testing.assert_array_equal(result, expected)
    threads = cv2.getNumThreads()
    try:
        cv2.setNumThreads(1)
        np.testing.assert_array_equal(full(scene), alone[0])
    finally:
        cv2.setNumThreads(threads)


# --- from and to JSON ------------------------------------------------------------------------------------------------


def test_a_file_with_an_option_under_its_old_name_is_read_as_the_same_transform(
    build: Callable[..., Transform], tmp_path: Path, scene: np.ndarray
) -> None:
    now = build(resize="stretch")
    old = json.dumps(now.to_dict()).replace('"stretch"', '"squash"')
    assert '"squash"' in old
    (tmp_path / "contract.json").write_text(old)
    read = Transform.load(tmp_path / "contract.json")
    assert (read, read.digest) == (now, now.digest)
    np.testing.assert_array_equal(read(scene), now(scene))


def test_json_round_trip(full: Transform, tmp_path: Path) -> None:
    full.with_statistics([0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8]).save(tmp_path / "contract.json")
    loaded = Transform.load(tmp_path / "contract.json")
    assert loaded.statistics is not None
    assert loaded.statistics.mean == (0.1, 0.2, 0.3, 0.4)
    assert loaded.statistics.std == (0.5, 0.6, 0.7, 0.8)
    first = (tmp_path / "contract.json").read_bytes()
    loaded.save(tmp_path / "contract.json")
    assert (tmp_path / "contract.json").read_bytes() == first
    content = json.loads(first)
    assert content["shape"] == [32, 32, 4]
    assert content["channel_names"] == ["lightness", "a", "b", "mask"]


def test_the_digest_is_of_what_decides_the_result(
    build: Callable[..., Transform], option: Callable[..., Option]
) -> None:
    transform = build(denoise=option("denoise", "gaussian", sigma=1.0))
    assert len(transform.digest) == 64
    assert transform.with_statistics([0.5] * 3, [0.2] * 3).digest == transform.digest
    assert build(denoise=option("denoise", "gaussian", sigma=1)).digest == transform.digest
    others = [build(denoise=option("denoise", "gaussian", sigma=1.1)), build(denoise="median"), build(33), build()]
    assert len({transform.digest, *(other.digest for other in others)}) == 5


def broken(content: dict, *path: str, value: object) -> dict:
    content = json.loads(json.dumps(content))
    node = content
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return content


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("version",), 1, "version"),
        (("size",), 0, "size: 0"),
        (("size",), "32", "size: '32'"),
        (("channels",), 4, "channels: 4"),
        (("sample_bits",), 7, "sample_bits: 7"),
        (("sample_bits",), 12.0, "sample_bits: 12.0"),
        (("background",), [256], "background"),
        (("background",), None, "steps"),
        (("steps",), {}, "clean: missing"),
        (("steps",), [], "steps"),
        (("steps", "denoise"), {"name": "median"}, "denoise"),
        (("steps", "denoise"), {"name": "none", "_target_": "os.system"}, "denoise"),
        (("steps", "denoise", "name"), ["none"], "denoise"),
        (("shape",), [1, 2, 3], "shape"),
        (("extra",), 1, "shape"),
        (("statistics",), {"mean": [0.5], "std": [0.5]}, "statistics"),
        (("statistics",), {"mean": [0.5] * 3, "std": [float("nan")] * 3}, "statistics"),
        (("statistics",), {"mean": [0.5] * 3}, "std: missing"),
    ],
)
def test_what_is_no_transform_is_refused(
    path: tuple[str, ...], value: object, message: str, build: Callable[..., Transform]
) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        Transform.from_dict(broken(build().to_dict(), *path, value=value))


def test_configurations_that_cannot_be_are_refused(build: Callable[..., Transform]) -> None:
    with pytest.raises(ValueError, match=r"^clean.color: 'hsv' needs channels: 3"):
        build(channels=1, clean="hsv")
    with pytest.raises(ValueError, match=r"^background: .* is not grey"):
        build(channels=1, background=(1, 2, 3))
    assert build(channels=1, background=(7, 7, 7)).background == (7,)
    assert build(background=(7,)).background == (7, 7, 7)


CORPUS_SCRIPT = """
import hashlib, json, sys
from pathlib import Path
from sightline.imaging.transform.pipeline import Transform
from sightline.core.rejection import RejectionError
transform = Transform.load(Path(sys.argv[1]))
digest, accepted = hashlib.sha256(), 0
for path in sorted(p for p in Path(sys.argv[2]).rglob("*") if p.is_file()):
    try:
        digest.update(transform.decode(path.read_bytes()).tobytes())
        accepted += 1
    except RejectionError as refused:
        digest.update(refused.reason.encode())
heavy = [name for name in ("torch", "albumentations", "hydra", "omegaconf", "pyarrow") if name in sys.modules]
print(json.dumps([digest.hexdigest(), accepted, heavy]))
"""


@pytest.mark.filterwarnings("ignore::Warning:PIL")
def test_rebuilt_from_its_file_without_torch_it_gives_equal_bits_on_the_hostile_corpus(
    build: Callable[..., Transform], option: Callable[..., Option], tmp_path: Path
) -> None:
    root = Path(os.environ.get("SIGHTLINE_SHARED_DATA", "../shared/data")) / "hostile"
    if not root.is_dir():
        pytest.skip(f"no hostile images at {root}: set SIGHTLINE_SHARED_DATA")
    transform = build(
        clean=option("clean", "standard", max_side=64, drop_blank=False),
        segment=option("segment", "kmeans", use="channel"),
        **FULL,
    )
    transform.save(tmp_path / "contract.json")
    command = [sys.executable, "-c", CORPUS_SCRIPT, str(tmp_path / "contract.json"), str(root)]
    other = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    digest, accepted = hashlib.sha256(), 0
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        try:
            digest.update(transform.decode(path.read_bytes()).tobytes())
            accepted += 1
        except RejectionError as refused:
            digest.update(refused.reason.encode())
    assert json.loads(other.communicate(timeout=120)[0]) == [digest.hexdigest(), accepted, []]
    assert accepted > 600
