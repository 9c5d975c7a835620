"""The gate: which bytes are an image. What runs here runs in workers, and sees untrusted bytes."""

from __future__ import annotations

import cv2

from sightline import files, images
from sightline.images import Limits
from sightline.ingest.looks import look
from sightline.ingest.outcome import Checked, Outcome, Refused
from sightline.reasons import Reason, Rejected


def check(data: bytes, limits: Limits) -> Outcome:
    """Decodes an image strictly and says what it is, or why it is refused."""
    try:
        info, pixels = images.read(data, channels=1, limits=limits, sample_bits=None)
        looks = look(pixels[:, :, 0])
    except Rejected as error:
        return Refused(error.reason, error.detail)
    except (MemoryError, cv2.error) as error:
        if isinstance(error, cv2.error) and error.code != cv2.Error.StsNoMem:
            raise
        return Refused(Reason.OUT_OF_MEMORY, "it needs more memory than there is")
    return Checked(
        files.sha256(data), info.format, info.width, info.height, info.mode, info.bits, looks.flags, looks.phash
    )
