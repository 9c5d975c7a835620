"""The hardware of a training run: detection of devices, global settings, and the numeric profile."""

from __future__ import annotations

import os
import platform
from typing import Any

import psutil
import torch

from sightline.core.errors import UserError
from sightline.stages.train.options import TrainerOption


def world_size(hardware: TrainerOption) -> int:
    """Returns the number of processes that train together, one per device.

    Raises:
        UserError: If there are fewer devices than configured.
    """
    on_gpus = hardware.accelerator == "gpu" or (hardware.accelerator == "auto" and torch.cuda.is_available())
    found = torch.cuda.device_count() if on_gpus else 1
    if on_gpus and hardware.devices > found:
        raise UserError(f"train.trainer.devices: {hardware.devices} GPUs were asked for, and torch sees {found}")
    if hardware.accelerator == "mps" and hardware.devices > 1:
        raise UserError(f"train.trainer.devices: there is one Apple GPU, not {hardware.devices}")
    return (hardware.devices or max(found, 1)) * hardware.nodes


def on_cpu(hardware: TrainerOption) -> bool:
    """Returns whether the network runs on CPUs."""
    there = torch.cuda.is_available() or torch.backends.mps.is_available()
    return hardware.accelerator == "cpu" or (hardware.accelerator == "auto" and not there)


def prepare(hardware: TrainerOption, threads: int) -> str:
    """Applies global settings that must precede the first tensor; returns Lightning's name of the precision to use.

    Raises:
        UserError: If the configured hardware is not available.
    """
    if hardware.accelerator == "gpu" and not torch.cuda.is_available():
        raise UserError("train.trainer: gpu was asked for, but torch sees none; use train.trainer=auto or cpu")
    if hardware.accelerator == "mps" and not torch.backends.mps.is_available():
        raise UserError("train.trainer: mps was asked for, but torch sees none; use train.trainer=auto or cpu")
    torch.set_num_threads(threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with this
    # Deterministic mode would also fill every new tensor, which costs 15 %; nothing here reads uninitialised memory.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if hardware.precision != "auto":
        return hardware.precision
    # On a CPU without bf16 instructions, bf16 is 6 to 13 times slower; with them, it still loses on small models.
    on_gpu = hardware.accelerator in ("auto", "gpu") and torch.cuda.is_available()
    return "bf16-mixed" if on_gpu and torch.cuda.is_bf16_supported() else "32-true"


def has_room(device: torch.device, images: int) -> bool:
    """Returns whether a device has room for so many bytes of images: at most a quarter of its free memory."""
    on_gpu = device.type == "cuda"
    free = torch.cuda.mem_get_info(device)[0] if on_gpu else psutil.virtual_memory().available
    return images <= free // 4


def numeric_profile(hardware: TrainerOption, threads: int, device: str, precision: str) -> dict[str, Any]:
    """Returns the numeric profile: with the same profile, data, configuration and code, results have the same bits."""
    return {
        "torch": torch.__version__,
        "machine": platform.machine(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": threads,
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else device,
        "devices": world_size(hardware),
        "precision": precision,
        "deterministic": hardware.deterministic,
        "compiled": hardware.compile,
    }
