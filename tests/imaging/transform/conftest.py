"""Options with the values in `conf/`, transforms built from them, and pictures to test them on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from sightline.config.schema import Option
from sightline.imaging.transform import steps
from sightline.imaging.transform.pipeline import Transform

CONF = Path(__file__).parents[3] / "conf" / "preprocess"
PLAIN = {"clean": "none", "denoise": "none", "enhance": "none", "segment": "none", "resize": "stretch"}


def _option(step: str, name: str, **values: Any) -> Option:
    content = yaml.safe_load((CONF / step / f"{name}.yaml").read_text())
    return steps.parse_option(step, content | values)


def _build(size: int = 32, channels: int = 3, background: tuple[int, ...] = (255,), **steps: str | Option) -> Transform:
    chosen = {step: _option(step, of) if isinstance(of, str) else of for step, of in (PLAIN | steps).items()}
    return Transform.build(size, channels, list(background), **chosen)


@pytest.fixture(scope="session")
def option() -> Callable[..., Option]:
    """`option(step, name, **values)`: an option with the values of its file, overridden by `values`."""
    return _option


@pytest.fixture(scope="session")
def build() -> Callable[..., Transform]:
    """`build(**steps)`: a transform that only resizes, plus the given steps (names or options)."""
    return _build


@pytest.fixture(scope="session")
def scene() -> np.ndarray:
    """A smooth, coloured background with a disc of another colour in the middle, [90, 120, 3] uint8."""
    y, x = np.mgrid[:90, :120]
    image = np.dstack([60 + x / 6, 90 + y / 5, 120 + x / 8 - y / 8])
    image[disc()] = (230, 190, 40)
    return cv2.GaussianBlur(image, (0, 0), 0.8).round().astype(np.uint8)


def disc() -> np.ndarray:
    y, x = np.mgrid[:90, :120]
    return (y - 45) ** 2 + (x - 60) ** 2 < 27**2


@pytest.fixture(scope="session")
def foreground() -> np.ndarray:
    """The mask of the scene's disc, [90, 120] bool."""
    return disc()
