"""The preprocessing transform, from decoded pixels to the network's input: the only preprocessing there is.

The preprocess stage, prediction, the server and the web page all load it from the same file.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sightline.config.schema import Option
from sightline.core import files
from sightline.imaging import decode as images
from sightline.imaging.bit_depth import ALL_BITS, FEWEST_BITS
from sightline.imaging.image_file import Limits
from sightline.imaging.transform.clean import Clean
from sightline.imaging.transform.color import channel_names, convert
from sightline.imaging.transform.ops import Pixels
from sightline.imaging.transform.resize import Resize
from sightline.imaging.transform.segment import Foreground, Segmentation
from sightline.imaging.transform.step import Step
from sightline.imaging.transform.steps import STEPS, current_names, parse_option

VERSION = 2
SEGMENT_FALLBACK = "segment_fallback"


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of each channel of the transform's output over a training set, in 0..1 units."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class Transform:
    """A pure function from decoded images to arrays of a fixed shape, built from the configuration or from JSON.

    Equal images give equal bits, regardless of process, thread or earlier calls.

    Attributes:
        size: Height and width of the result in pixels.
        channels: Channels of the decoded image: 1 for grey, 3 for RGB.
        sample_bits: Number of bits of white in files of 16-bit samples.
        background: A level for each channel; used under transparent pixels, outside masks and around padded images.
        clean: First step.
        denoise: Second step.
        enhance: Third step.
        segment: Fourth step.
        resize: Last step.
        statistics: Statistics of the training set, if known.
    """

    size: int
    channels: int
    sample_bits: int
    background: tuple[int, ...]
    clean: Step
    denoise: Step
    enhance: Step
    segment: Segmentation
    resize: Resize
    statistics: Statistics | None = None

    @classmethod
    def build(
        cls,
        size: int,
        channels: int,
        background: Sequence[int],
        clean: Step,
        denoise: Step,
        enhance: Step,
        segment: Segmentation,
        resize: Resize,
        sample_bits: int = ALL_BITS,
    ) -> Transform:
        """Builds a transform from checked options.

        Args:
            size: Height and width of the result in pixels, 1..4096.
            channels: 1 for grey, 3 for RGB.
            background: One level, or one for each of red, green and blue, 0..255.
            clean: An option of `CLEAN`; the same for the others.
            denoise: See `clean`.
            enhance: See `clean`.
            segment: See `clean`.
            resize: See `clean`.
            sample_bits: Number of bits of white in files of 16-bit samples, 8..16.

        Raises:
            ValueError: For a value outside its range; the message begins with its name.
        """
        given = {"clean": clean, "denoise": denoise, "enhance": enhance, "segment": segment, "resize": resize}
        steps = {name: dataclasses.asdict(option) for name, option in given.items()}
        return _checked(size, channels, sample_bits, list(background), steps, None)

    @property
    def steps(self) -> dict[str, Option]:
        """The options by step, in order."""
        return {name: getattr(self, name) for name in STEPS}

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of every result."""
        return self.size, self.size, len(self.channel_names)

    @property
    def channel_names(self) -> list[str]:
        """The content of each channel of every result, such as ["red", "green", "blue"] or ["grey", "mask"]."""
        masked = isinstance(self.segment, Foreground) and self.segment.use == "channel"
        return channel_names(self._color, self.channels) + ["mask"] * masked

    @property
    def _color(self) -> str:
        color = self.clean.color if isinstance(self.clean, Clean) else "keep"
        return "keep" if color == "grey" and self.channels == 1 else color

    def __call__(self, image: Pixels) -> Pixels:
        """Returns the preprocessed image.

        Args:
            image: [h, w, channels] uint8, as from `decode.decode`; h and w at least 1.

        Returns:
            [size, size, shape[2]] uint8.

        Raises:
            RejectionError: With RejectionReason.BLANK, if blank images are to be dropped and this is one.
        """
        return self.run(image)[0]

    def decode(self, data: bytes, limits: Limits | None = None) -> Pixels:
        """Returns the preprocessed image of an encoded file: decodes it, then applies the steps.

        Raises:
            RejectionError: With the reason, for bytes that cannot be decoded.
        """
        return self(self.open(data, limits))

    def open(self, data: bytes, limits: Limits | None = None) -> Pixels:
        """Returns an encoded file's pixels as input for the steps: [h, w, channels] uint8.

        Raises:
            RejectionError: With the reason, for bytes that cannot be decoded.
        """
        return images.decode(data, self.channels, self._rgb, limits, self.sample_bits)

    def run(self, image: Pixels) -> tuple[Pixels, list[str]]:
        """Returns the preprocessed image, and notes for the caller to count: SEGMENT_FALLBACK or none."""
        states, notes = self._states(image)
        result = states[-1][1]
        # If no step changed anything, the caller still gets a copy.
        return result.copy() if np.may_share_memory(result, image) else result, notes

    def trace(self, image: Pixels) -> list[tuple[str, Pixels]]:
        """Returns the original and the result of every active step, by name, for contact sheets."""
        states, _ = self._states(image)
        idle = {name for name, option in self.steps.items() if option.name == "none"}
        return [(name, state) for name, state in states if name not in idle]

    def _states(self, image: Pixels) -> tuple[list[tuple[str, Pixels]], list[str]]:
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != self.channels or image.size == 0:
            raise ValueError(f"image: {image.dtype} {image.shape} is not uint8 [height, width, {self.channels}]")
        notes: list[str] = []
        states = [("original", np.ascontiguousarray(image))]
        for name, step in (("clean", self.clean), ("denoise", self.denoise), ("enhance", self.enhance)):
            states.append((name, step(states[-1][1])))
        segmented, fell_back = self.segment(states[-1][1], self.background)
        if fell_back:
            notes.append(SEGMENT_FALLBACK)
        states.append(("segment", segmented))
        # An added mask is padded with 0: there is no foreground outside the image.
        fill = [*self.background, 0][: segmented.shape[2]]
        states.append(("resize", self.resize(segmented, self.size, fill)))
        if self._color != "keep":
            states.append(("color", convert(states[-1][1], self._color)))
        return states, notes

    @property
    def _rgb(self) -> tuple[int, ...]:
        return self.background * 3 if self.channels == 1 else self.background

    def with_statistics(self, mean: Sequence[float], std: Sequence[float]) -> Transform:
        """Returns the same transform with the training set's statistics (0..1 units, one number per channel)."""
        if len(mean) != self.shape[2] or len(std) != self.shape[2]:
            raise ValueError(f"statistics: {len(mean)} and {len(std)} numbers for {self.shape[2]} channels")
        if not all(0 <= value <= 1 for value in (*mean, *std)):
            raise ValueError("statistics: not all in 0..1")
        return dataclasses.replace(self, statistics=Statistics(tuple(map(float, mean)), tuple(map(float, std))))

    @property
    def digest(self) -> str:
        """SHA-256 of everything that determines the result, 64 hexadecimal digits: the JSON without the statistics."""
        return files.sha256(files.canonical_json(dataclasses.replace(self, statistics=None).to_dict()).encode())

    def to_dict(self) -> dict[str, Any]:
        """Returns the transform as plain data, with everything that a reader needs to use or rebuild it."""
        return {
            "version": VERSION,
            "size": self.size,
            "channels": self.channels,
            "sample_bits": self.sample_bits,
            "background": list(self.background),
            "steps": {name: dataclasses.asdict(option) for name, option in self.steps.items()},
            "statistics": None
            if self.statistics is None
            else {"mean": list(self.statistics.mean), "std": list(self.statistics.std)},
            "shape": list(self.shape),
            "channel_names": self.channel_names,
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Transform:
        """Rebuilds a transform from `to_dict`.

        Raises:
            ValueError: For anything that is not a transform of this version; the message names the key.
        """
        if not isinstance(content, Mapping) or content.get("version") != VERSION:
            raise ValueError(f"version: not {VERSION}, the only version of preprocessing transforms that can be read")
        try:
            content = {**content, "steps": current_names(content["steps"])}
            transform = _checked(
                *(content[key] for key in ("size", "channels", "sample_bits", "background", "steps", "statistics"))
            )
        except KeyError as error:
            raise ValueError(f"{error.args[0]}: missing") from None
        except (TypeError, AttributeError) as error:
            raise ValueError(f"steps: not of a transform's structure ({error})") from None
        if transform.to_dict() != content:
            raise ValueError("shape: the keys and values of the transform do not agree with each other")
        return transform

    def save(self, path: Path) -> None:
        """Writes the transform as canonical JSON."""
        files.write_json(path, self.to_dict())

    @classmethod
    def load(cls, path: Path) -> Transform:
        """Rebuilds the transform from a file written by `save`.

        Raises:
            ValueError: If the file does not contain a transform.
        """
        return cls.from_dict(json.loads(path.read_text(encoding="utf-8")))


def _checked(
    size: Any,
    channels: Any,
    sample_bits: Any,
    background: Any,
    steps: Mapping[str, Any],
    statistics: Mapping[str, Any] | None,
) -> Transform:
    if type(size) is not int or not 1 <= size <= 4096:
        raise ValueError(f"size: {size!r} is not a whole number in 1..4096")
    if channels not in (1, 3):
        raise ValueError(f"channels: {channels!r} is neither 1 nor 3")
    if type(sample_bits) is not int or not FEWEST_BITS <= sample_bits <= ALL_BITS:
        raise ValueError(f"sample_bits: {sample_bits!r} is not a whole number in {FEWEST_BITS}..{ALL_BITS}")
    if len(background) not in (1, 3) or not all(type(v) is int and 0 <= v <= 255 for v in background):
        raise ValueError(f"background: {background!r} is not one or three levels in 0..255")
    if channels == 1 and len(set(background)) != 1:
        raise ValueError(f"background: {background!r} is not grey, as channels: 1 requires")
    level = tuple(background[:1] if channels == 1 else (background * 3)[:3])
    chosen: dict[str, Any] = {name: parse_option(name, steps[name]) for name in STEPS}
    transform = Transform(size, channels, sample_bits, level, **chosen)
    if channels == 1 and transform._color != "keep":
        raise ValueError(f"clean.color: {transform._color!r} needs channels: 3")
    return transform if statistics is None else transform.with_statistics(statistics["mean"], statistics["std"])
