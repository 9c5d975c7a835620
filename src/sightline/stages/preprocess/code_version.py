"""The version of the code that produces pixels, part of the cache's keys."""

from __future__ import annotations

import functools

from sightline.core import clusters

MODULES = {
    "pixels": "sightline.stages.preprocess.pixel_task",
    "copies": "sightline.stages.preprocess.copy_task",
}
LIBRARIES = {
    "pixels": ("numpy", "opencv-python-headless", "pillow", "pywavelets", "simplejpeg"),
    "copies": ("numpy", "opencv-python-headless", "albumentations"),
}


@functools.cache
def version(kind: str) -> str:
    """Returns a digest of the code that produces "pixels" or "copies" and of the versions of the libraries it uses."""
    return clusters.software_version(MODULES[kind], LIBRARIES[kind])
