"""The installation: Python, packages against the lock, the command's own code, accelerators."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from sightline.core.errors import DISTRIBUTION, how_to_install
from sightline.core.text import readable_size
from sightline.doctor.diagnosis import Diagnosis, fault, good, warning

LOCK = Path("requirements.lock")
MOST_NAMED = 3
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)(?: *; *([^\\\n]+))?", re.MULTILINE)
_GPU_DEVICES = Path("/dev/nvidiactl")


def examine() -> Iterator[Diagnosis]:
    """Yields the diagnoses."""
    yield _python()
    yield _packages()
    if LOCK.is_file():
        yield _lock(LOCK.read_text())
    yield _accelerator()


def _python() -> Diagnosis:
    version = ".".join(map(str, sys.version_info[:3]))
    wanted = importlib.metadata.metadata(DISTRIBUTION)["Requires-Python"] if _is_installed(DISTRIBUTION) else None
    if wanted:
        from packaging.specifiers import SpecifierSet

        if version not in SpecifierSet(wanted):
            return fault("python", f"{version}, {wanted} is needed", "make PYTHON=python3.12 install")
    return good("python", f"{version}, {sys.prefix}")


def _packages() -> Diagnosis:
    missing = [name for name in ("dvc", "hydra", "pytorch_lightning", "torch", "mlflow") if not _can_import(name)]
    if missing:
        return warning("packages", f"no {', '.join(missing)}: only prediction works", how_to_install("pipeline"))
    return good("packages", "those of the pipeline are installed")


def _lock(text: str) -> Diagnosis:
    """Compares the installed versions with those of the lock."""
    from packaging.markers import Marker
    from packaging.utils import canonicalize_name

    installed = {canonicalize_name(d.name): d.version for d in importlib.metadata.distributions()}
    pins = [(name, version) for name, version, marker in _PIN.findall(text) if not marker or Marker(marker).evaluate()]
    others = [
        f"{name} {installed.get(canonicalize_name(name), 'missing')} (locked: {version})"
        for name, version in pins
        if installed.get(canonicalize_name(name)) != version
    ]
    if others:
        more = f" and {len(others) - MOST_NAMED} more" if len(others) > MOST_NAMED else ""
        return warning("versions", f"{', '.join(others[:MOST_NAMED])}{more}, which differ from {LOCK}", "make install")
    return good("versions", f"all {len(pins)} of {LOCK}")


def _accelerator() -> Diagnosis:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not _can_import("torch"):
        return good("accelerator", f"not looked for, because torch is missing; {cores} CPU cores")
    import torch

    if torch.cuda.is_available():
        devices = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        return good(
            "accelerator", ", ".join(f"{d.name} ({readable_size(d.total_memory, binary=True)})" for d in devices)
        )
    if torch.backends.mps.is_available():
        return good("accelerator", f"Apple's GPU, by MPS; {cores} CPU cores")
    if _GPU_DEVICES.exists():
        return fault(
            "accelerator",
            f"an NVIDIA GPU is here, but PyTorch {torch.__version__} cannot use it",
            "compare nvidia-smi's CUDA version with torch.version.cuda, and update the driver",
        )
    return good("accelerator", f"no GPU; {cores} CPU cores")


def _is_installed(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _can_import(module: str) -> bool:
    return importlib.util.find_spec(module) is not None
