"""Denoising: each option of `options.DENOISE` at work."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from sightline.config.schema import Option
from sightline.imaging.transform import options
from sightline.imaging.transform.ops import Pixels, with_channels

Plane = npt.NDArray[np.float32]
_STRIP = 8192  # columns
_MAD_TO_SIGMA = 0.6745  # median of |x| for a standard normal x


def denoise(image: Pixels, option: Option) -> Pixels:
    """Returns the denoised image, [h, w, c] uint8."""
    match option:
        case options.Median():
            return with_channels(cv2.medianBlur(image, option.kernel_size))
        case options.Gaussian():
            return with_channels(cv2.GaussianBlur(image, (0, 0), option.sigma, borderType=cv2.BORDER_REFLECT))
        case options.Bilateral():
            return with_channels(cv2.bilateralFilter(image, option.diameter, option.sigma_color, option.sigma_space))
        case options.NonLocalMeans():
            return _nonlocal_means(image, option.strength, option.patch_size, option.search_size)
        case options.TotalVariation():
            return _to_levels([_total_variation(p, option.weight, option.iterations) for p in _planes(image)])
        case options.Wavelet():
            return _to_levels([_wavelet(plane, option) for plane in _planes(image)])
        case options.AutoDenoise():
            sigma = estimate_noise(image)
            if sigma == 0 or sigma < option.min_sigma:
                return image
            return _nonlocal_means(image, option.strength * sigma, option.patch_size, option.search_size)
    return image


def estimate_noise(image: Pixels) -> float:
    """Estimates the standard deviation of the noise, in grey levels: 0 for images below 2x2.

    The median absolute diagonal detail of the finest Haar wavelet level, over all channels, divided by 0.6745: edges
    are rare there, noise is not (Donoho and Johnstone, Biometrika 81, 1994).
    """
    height, width = image.shape[0] // 2 * 2, image.shape[1] // 2 * 2
    if not height or not width:
        return 0.0
    levels = image[:height, :width].astype(np.int16)
    diagonal = levels[::2, ::2] - levels[1::2, ::2] - levels[::2, 1::2] + levels[1::2, 1::2]
    return float(np.median(np.abs(diagonal))) / 2 / _MAD_TO_SIGMA


def _nonlocal_means(image: Pixels, strength: float, patch_size: int, search_size: int) -> Pixels:
    # In strips: OpenCV keeps 4 bytes for each column and each place of the search window, 2 KB for a pixel of an image
    # that is one pixel high. A strip sees all that its pixels are compared with, so that no bit differs.
    reach = patch_size // 2 + search_size // 2
    out = np.empty_like(image)
    for left in range(0, image.shape[1], _STRIP):
        begin, end = max(0, left - reach), left + _STRIP + reach
        strip = np.ascontiguousarray(image[:, begin:end])
        # On the three channels at once: OpenCV's variant for colour goes through 8-bit Lab and loses 0.6 to 1.5 dB.
        done = with_channels(cv2.fastNlMeansDenoising(strip, None, strength, patch_size, search_size))
        out[:, left : left + _STRIP] = done[:, left - begin :][:, :_STRIP]
    return out


def _planes(image: Pixels) -> list[Plane]:
    return [image[:, :, channel].astype(np.float32) for channel in range(image.shape[2])]


def _to_levels(planes: list[Plane]) -> Pixels:
    return np.clip(np.rint(np.stack(planes, axis=2)), 0, 255).astype(np.uint8)


def _total_variation(plane: Plane, weight: float, iterations: int) -> Plane:
    """Solves the model of Rudin, Osher and Fatemi by Chambolle's projection, [h, w] in grey levels.

    Written out here: OpenCV has only the L1 variant, 4 to 9 dB worse on Gaussian noise, and scikit-image would bring
    SciPy to every deployment for these lines.
    """
    step = np.float32(0.25)  # the greatest for which the projection converges
    dual = np.zeros((2, *plane.shape), np.float32)
    gradient = np.zeros_like(dual)
    result = plane
    for _ in range(iterations):
        divergence = -dual[0] - dual[1]
        divergence[1:] += dual[0, :-1]
        divergence[:, 1:] += dual[1, :, :-1]
        result = plane + divergence
        gradient[0, :-1] = np.diff(result, axis=0)
        gradient[1, :, :-1] = np.diff(result, axis=1)
        norm = np.sqrt(np.square(gradient).sum(axis=0))
        dual = (dual - step * gradient) / (1 + norm * np.float32(step / weight))
    return result


def _wavelet(plane: Plane, option: options.Wavelet) -> Plane:
    """Soft-thresholds the details of an orthogonal wavelet transform by BayesShrink, [h, w] in grey levels."""
    import pywt  # 0.15 s, for this option alone

    deepest = pywt.dwtn_max_level(plane.shape, option.wavelet)
    if deepest == 0:
        return plane
    coarse, *details = pywt.wavedec2(plane, option.wavelet, mode="reflect", level=min(option.levels, deepest))
    noise = float(np.median(np.abs(details[-1][2]))) / _MAD_TO_SIGMA

    def shrink(detail: Plane) -> Plane:
        signal = np.sqrt(max(float(np.mean(np.square(detail))) - noise**2, 1e-12))
        return np.asarray(pywt.threshold(detail, option.strength * noise**2 / signal, "soft"), np.float32)

    shrunk = [tuple(map(shrink, level)) for level in details]
    restored = pywt.waverec2([coarse, *shrunk], option.wavelet, mode="reflect")
    return np.asarray(restored[: plane.shape[0], : plane.shape[1]], np.float32)
