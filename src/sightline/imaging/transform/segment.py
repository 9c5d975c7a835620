"""Segmentation: each option of `options.SEGMENT` at work, and what is done with the mask."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from sightline.config.schema import Option
from sightline.imaging.transform import options
from sightline.imaging.transform.ops import Pixels, luminance, shrink_to

Mask = npt.NDArray[np.bool_]
_SMALLEST_CUT = 8  # px; below it GrabCut has too few pixels to learn five colours of either side


def segment(image: Pixels, option: Option, background: Sequence[int]) -> tuple[Pixels, bool]:
    """Finds the foreground and applies it.

    Args:
        image: [h, w, c] uint8.
        option: One of `options.SEGMENT`.
        background: A level for each channel, for `use: mask`.

    Returns:
        The image, with a channel more for `use: channel`, and whether the mask was empty or full: then the image is
        unchanged (and the extra channel all foreground).
    """
    if not isinstance(option, options.Segment):
        return image, False
    mask = find_foreground(image, option)
    useless = bool(mask.all() or not mask.any())
    if option.use == "channel":
        return np.dstack([image, np.where(mask | useless, np.uint8(255), np.uint8(0))]), useless
    if useless:
        return image, True
    if option.use == "crop":
        return _crop(image, mask, option.margin), False
    return np.where(mask[:, :, None], image, np.asarray(background, np.uint8)), False


def find_foreground(image: Pixels, option: options.Segment) -> Mask:
    """Returns the mask of the foreground, [h, w] bool; all or nothing where it cannot be told."""
    small = shrink_to(image, getattr(option, "max_side", max(image.shape[:2])))
    match option:
        case options.Threshold():
            mask = _threshold(small, option)
        case options.Adaptive():
            mask = _adaptive(small, option)
        case options.KMeans():
            mask = _kmeans(small, option.clusters)
        case options.GrabCut():
            mask = _grabcut(small, option)
        case options.Watershed():
            mask = _watershed(small, option)
        case _:
            raise TypeError(f"no segmentation {type(option).__name__}")
    if mask.shape == image.shape[:2]:
        return mask
    full = cv2.resize(mask.astype(np.uint8), image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    return np.asarray(full, np.bool_)


def _crop(image: Pixels, mask: Mask, margin: float) -> Pixels:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    extra = round(margin * max(bottom - top, right - left))
    return np.ascontiguousarray(image[max(0, top - extra) : bottom + extra, max(0, left - extra) : right + extra])


def _border(plane: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """Returns the outermost pixels of [h, w]."""
    return np.concatenate([plane[0], plane[-1], plane[1:-1, 0], plane[1:-1, -1]])


def _side(bright: Mask, foreground: str) -> Mask:
    """Returns the mask of the side that is foreground; "auto": the side that is rarer on the image's border."""
    if foreground == "auto":
        border = _border(bright)
        foreground = "dark" if 2 * np.count_nonzero(border) > border.size else "bright"
    return bright if foreground == "bright" else ~bright


def _threshold(image: Pixels, option: options.Threshold) -> Mask:
    grey = luminance(image)
    kind = {"fixed": cv2.THRESH_BINARY, "otsu": cv2.THRESH_OTSU, "triangle": cv2.THRESH_TRIANGLE}[option.method]
    level, _ = cv2.threshold(grey, option.level, 255, kind)
    return _side(grey > level, option.foreground)


def _adaptive(image: Pixels, option: options.Adaptive) -> Mask:
    bright = cv2.adaptiveThreshold(
        luminance(image), 255, cv2.ADAPTIVE_THRESH_GAUSSIAN_C, cv2.THRESH_BINARY, option.block_size, option.offset
    )
    return _side(np.asarray(bright, np.bool_), option.foreground)


def _kmeans(image: Pixels, clusters: int) -> Mask:
    height, width, channels = image.shape
    if height * width < clusters or not np.ptp(image, axis=(0, 1)).any():
        return np.ones((height, width), np.bool_)
    colors = image if channels == 1 else np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2Lab))
    samples = colors.reshape(-1, channels).astype(np.float32)
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 50, 0.5)
    cv2.setRNGSeed(0)  # the state is the thread's own; the first centres are drawn from it
    _, labels, _ = cv2.kmeans(samples, clusters, None, stop, 3, cv2.KMEANS_PP_CENTERS)  # type: ignore[call-overload]
    plane = np.asarray(labels).reshape(height, width)
    border = _border(plane)
    on_border = np.bincount(border, minlength=clusters) / border.size
    everywhere = np.bincount(plane.reshape(-1), minlength=clusters) / plane.size
    return np.asarray((on_border < everywhere)[plane])


def _grabcut(image: Pixels, option: options.GrabCut) -> Mask:
    height, width, _ = image.shape
    if min(height, width) < _SMALLEST_CUT:
        return np.ones((height, width), np.bool_)
    inset = max(1, round(option.border * min(height, width)))
    box = (inset, inset, width - 2 * inset, height - 2 * inset)
    mask = np.zeros((height, width), np.uint8)
    cv2.setRNGSeed(0)  # as in _kmeans
    cv2.grabCut(
        _three_channels(image),
        mask,
        box,
        np.zeros((1, 65)),
        np.zeros((1, 65)),
        option.iterations,
        cv2.GC_INIT_WITH_RECT,
    )
    return np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD))


def _watershed(image: Pixels, option: options.Watershed) -> Mask:
    grey = luminance(image)
    level, _ = cv2.threshold(grey, 0, 255, cv2.THRESH_OTSU)
    rough = _side(grey > level, option.foreground)
    if rough.all() or not rough.any():
        return rough
    depth = np.asarray(cv2.distanceTransform(rough.astype(np.uint8), cv2.DIST_L2, 5))
    count, cores = cv2.connectedComponents((depth > option.core * depth.max()).astype(np.uint8))
    surely_background = cv2.dilate(rough.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=3) == 0
    markers: npt.NDArray[np.int32] = np.where(surely_background, np.int32(count), np.asarray(cores, np.int32))
    cv2.watershed(_three_channels(image), markers)
    return np.asarray((markers > 0) & (markers < count))  # -1 on the lines between regions


def _three_channels(image: Pixels) -> Pixels:
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image
