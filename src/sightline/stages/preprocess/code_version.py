"""The version of the code that makes pixels, as a part of the cache's keys."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata

from sightline.core.code_digest import MEMORY, CodeDigests

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
    """Returns a digest of the code that makes "pixels" or "copies", and of the versions of the libraries it calls."""
    memory = MEMORY if MEMORY.parent.is_dir() else None  # not on the nodes of a cluster, which have no project
    parts = [CodeDigests(memory=memory).digest(MODULES[kind])]
    for name in LIBRARIES[kind]:
        try:
            parts.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:  # another build of OpenCV, or not installed
            parts.append(f"{name} absent")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
