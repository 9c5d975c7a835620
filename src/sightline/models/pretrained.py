"""Loading of pretrained weights into a network whose stem, image size or number of channels may differ."""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Mapping
from pathlib import Path
from zipfile import BadZipFile, ZipFile, is_zipfile

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from sightline.core.errors import UserError, fault
from sightline.core.project import located

State = dict[str, torch.Tensor]

WRAPPERS = ("state_dict_ema", "state_dict", "model")
"""Keys under which training scripts store the weights in a checkpoint; averaged weights (EMA) are preferred."""
PREFIXES = ("module.", "_orig_mod.")
"""Prefixes that DistributedDataParallel and torch.compile add to each name."""

STATISTICS = ("running_mean", "running_var")
"""Name endings of a batch norm's statistics, which are not parameters and are therefore easily left out of a file."""


def read_weights(path: str) -> State:
    """Reads a weights file: `.safetensors`, or a state dict saved with `torch.save`. No code in it is executed.

    A checkpoint that contains more than the weights is accepted, and so is Sightline's own `model.safetensors`, from
    which the network inside the classifier is taken.

    Raises:
        UserError: If there is no such file, or it is damaged or contains no weights.
    """
    file = located(path)
    if not file.is_file():
        raise UserError(f"train.model.weights: no file {path}")
    try:
        _compare_checksums(file)
        content = (
            load_file(file)
            if file.suffix == ".safetensors"
            else torch.load(file, map_location="cpu", weights_only=True)  # weights_only: tensors, never code
        )
    except (
        RuntimeError,
        OSError,
        ValueError,
        EOFError,
        KeyError,
        pickle.UnpicklingError,
        SafetensorError,
        BadZipFile,
        zlib.error,
    ) as error:
        raise fault(error) or UserError(
            f"train.model.weights: {path} is not a weights file ({type(error).__name__})"
        ) from None
    if isinstance(content, Mapping):
        content = next((content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), content)
        if content and all(isinstance(value, torch.Tensor) for value in content.values()):
            return _plain(dict(content))
    raise UserError(f"train.model.weights: {path} contains no state dict")


def _compare_checksums(file: Path) -> None:
    """Verifies the checksums in a file from `torch.save` (a zip archive), since torch does not.

    Raises:
        UserError: If a checksum differs.
    """
    if is_zipfile(file):
        with ZipFile(file) as archive:
            if archive.testzip() is not None:
                raise UserError(f"train.model.weights: {file} is damaged (its checksum differs): download it again")


def _plain(state: State) -> State:
    """Returns the weights with the parameter names of the bare network."""
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    for around in ("classifier.", ""):  # of our Lightning module, of our classifier
        if {f"{around}mean", f"{around}scale"} <= state.keys():
            inner = f"{around}network."
            return {name.removeprefix(inner): value for name, value in state.items() if name.startswith(inner)}
    return state


def fit_kernel(kernel: torch.Tensor, side: int) -> torch.Tensor:
    """Resizes a convolution kernel [O, I, k, k] to [O, I, side, side].

    The new kernel responds to a patch as the old one does to the same patch resized to k x k pixels: with B the
    resizing, <w, Bx> = <B'w, x>. (Beyer et al. 2023, FlexiViT, section 3.4, require the opposite: the new kernel
    responds to Bx as the old one does to x. They therefore use the pseudoinverse where this uses the transpose.)
    """
    if kernel.shape[-1] == side:
        return kernel
    points = torch.eye(side * side, dtype=torch.float64).reshape(side * side, 1, side, side)
    resized = nn.functional.interpolate(points, size=kernel.shape[-2:], mode="bilinear", antialias=True)[:, 0]
    # Sums rather than a matrix product: the last bits of a product depend on the memory alignment of the tensors.
    answers = [(kernel.double() * point).sum(dim=(2, 3)) for point in resized]
    return torch.stack(answers, dim=2).reshape(*kernel.shape[:2], side, side).to(kernel.dtype)


def fit_channels(kernel: torch.Tensor, channels: int) -> torch.Tensor:
    """Adapts a first convolution's kernel [O, I, k, k] to images with another number of channels.

    For one channel the kernels are summed, so that a grey image gives the same response as its copy in I equal
    channels. Otherwise the given channels are repeated cyclically and scaled by I / channels, which preserves the
    magnitude of the responses (as in timm's `adapt_input_conv`).
    """
    given = kernel.shape[1]
    if channels == given:
        return kernel
    if channels == 1:
        return kernel.sum(dim=1, keepdim=True)
    return kernel[:, [c % given for c in range(channels)]] * (given / channels)


def load_backbone(network: nn.Module, state: State, first: str, head: str, name: str, source: str) -> None:
    """Loads everything except the head, which is left unchanged because the classes differ.

    Args:
        network: The network.
        state: Its pretrained weights.
        first: Name of its first convolution, whose kernel is adapted.
        head: Name of its last layer.
        name: The network's name, for error messages.
        source: The origin of the weights, for error messages.

    Raises:
        UserError: If the weights belong to another network.
    """
    state = {key: value for key, value in state.items() if not key.startswith(f"{head}.")}
    kernel = state.get(f"{first}.weight")
    if kernel is not None and kernel.ndim == 4:
        _, channels, side, _ = network.get_parameter(f"{first}.weight").shape
        state[f"{first}.weight"] = fit_channels(fit_kernel(kernel.float(), side), channels)
    try:
        missing, unexpected = network.load_state_dict(state, strict=False)
    except RuntimeError as error:  # a shape differs
        detail = str(error).splitlines()[-1].strip()
        raise UserError(f"train.model.weights: {source} does not fit {name}: {detail}") from None
    # `num_batches_tracked` is missing from old files, and is not needed here.
    missing = [key for key in missing if not key.startswith(f"{head}.") and not key.endswith("num_batches_tracked")]
    if missing:
        # Prefer to report a missing weight to a missing statistic: it shows that the file is for another network.
        raise misfit(source, name, min(missing, key=lambda key: key.endswith(STATISTICS)))
    if unexpected:
        raise UserError(f"train.model.weights: {source} does not fit {name}: it has {unexpected[0]}")


def misfit(source: str, name: str, missing: str) -> UserError:
    """Returns the error for weights that lack the entry `missing`."""
    detail = f"it has no {missing}"
    if missing.endswith(STATISTICS):
        # With a new network's statistics (mean 0, variance 1) the features would differ from the pretrained ones.
        detail += ", a batch norm's statistic: save the whole state_dict(), not only the parameters"
    return UserError(f"train.model.weights: {source} does not fit {name}: {detail}")
