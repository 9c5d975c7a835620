"""The gate: which bytes are an image. What runs here runs in workers, and sees untrusted bytes."""

from __future__ import annotations

import cv2

from sightline.core import files
from sightline.core.rejection import Reason, Rejected
from sightline.imaging import decode
from sightline.imaging.decode import Limits
from sightline.stages.ingest.check_result import Checked, Outcome, Refused
from sightline.stages.ingest.image_quality import look


def check(data: bytes, limits: Limits) -> Outcome:
    """Decodes an image strictly and says what it is, or why it is refused."""
    try:
        info, pixels = decode.read(data, channels=1, limits=limits, sample_bits=None)
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
