"""The check that bytes are an acceptable image. It runs in worker processes, on untrusted bytes."""

from __future__ import annotations

import cv2

from sightline.core import files
from sightline.core.rejection import RejectionError, RejectionReason
from sightline.imaging import decode
from sightline.imaging.image_file import Limits
from sightline.stages.ingest.check_result import CheckedImage, CheckFailure, CheckResult
from sightline.stages.ingest.image_quality import measure_quality


def check_image(data: bytes, limits: Limits) -> CheckResult:
    """Decodes an image strictly; returns its properties, or the reason for rejecting it."""
    try:
        info, pixels = decode.decode_with_info(data, channels=1, limits=limits, sample_bits=None)
        quality = measure_quality(pixels[:, :, 0])
    except RejectionError as error:
        return CheckFailure(error.reason, error.detail)
    except (MemoryError, cv2.error) as error:
        if isinstance(error, cv2.error) and error.code != cv2.Error.StsNoMem:
            raise
        return CheckFailure(RejectionReason.OUT_OF_MEMORY, "it needs more memory than is available")
    return CheckedImage(
        files.sha256(data), info.format, info.width, info.height, info.mode, info.bits, quality.flags, quality.phash
    )
