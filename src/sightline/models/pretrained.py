"""Weights that others have trained, from a file into a network of another stem, size and number of channels."""

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
"""Under these names training scripts keep the weights in a checkpoint; the averaged ones are the better ones."""
PREFIXES = ("module.", "_orig_mod.")
"""Prefixes that DistributedDataParallel and torch.compile put before each name."""

STATISTICS = ("running_mean", "running_var")
"""Endings of the names of what a batch norm computes with, no parameters and so easily left out of a file."""


def read_weights(path: str) -> State:
    """Reads a weights file: `.safetensors`, or what `torch.save` made of a state dict; nothing in it is executed.

    A checkpoint that holds the weights beside other things will do, and so will a `model.safetensors` of Sightline's
    own, whose network is taken out of its classifier.

    Raises:
        UserError: If there is no such file, or it holds no weights.
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
    """Compares the checksums in a file of `torch.save`, a zip archive, which torch itself does not.

    Raises:
        UserError: If one differs.
    """
    if is_zipfile(file):
        with ZipFile(file) as archive:
            if archive.testzip() is not None:
                raise UserError(f"train.model.weights: {file} is damaged (its checksum differs): download it again")


def _plain(state: State) -> State:
    """Returns the weights under the network's own names."""
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    for around in ("classifier.", ""):  # our Lightning module's, our classifier's
        if {f"{around}mean", f"{around}scale"} <= state.keys():
            inner = f"{around}network."
            return {name.removeprefix(inner): value for name, value in state.items() if name.startswith(inner)}
    return state


def fit_kernel(kernel: torch.Tensor, side: int) -> torch.Tensor:
    """Fits a convolution's kernel [O, I, k, k] to another size: [O, I, side, side].

    The new kernel answers to a patch as the old one does to the same patch enlarged (or reduced) to k pixels a side:
    with B the resizing, <w, Bx> = <B'w, x>. (Beyer et al. 2023, FlexiViT, section 3.4, ask it the other way round:
    that the new kernel answer to Bx as the old one does to x; so they invert where this transposes.)
    """
    if kernel.shape[-1] == side:
        return kernel
    points = torch.eye(side * side, dtype=torch.float64).reshape(side * side, 1, side, side)
    resized = nn.functional.interpolate(points, size=kernel.shape[-2:], mode="bilinear", antialias=True)[:, 0]
    # Sums rather than a matrix product, whose last bits depend on where in memory the tensors of a file happen to be.
    answers = [(kernel.double() * point).sum(dim=(2, 3)) for point in resized]
    return torch.stack(answers, dim=2).reshape(*kernel.shape[:2], side, side).to(kernel.dtype)


def fit_channels(kernel: torch.Tensor, channels: int) -> torch.Tensor:
    """Fits a first convolution's kernel [O, I, k, k] to images of another number of channels.

    One channel gets the sum: a grey image is answered as its copy in I equal channels is. More channels repeat the
    given ones, scaled by I / channels so that the answers keep their size (as timm's `adapt_input_conv`).
    """
    given = kernel.shape[1]
    if channels == given:
        return kernel
    if channels == 1:
        return kernel.sum(dim=1, keepdim=True)
    return kernel[:, [c % given for c in range(channels)]] * (given / channels)


def load_backbone(network: nn.Module, state: State, first: str, head: str, name: str, source: str) -> None:
    """Loads everything but the head, which stays as it is: the classes are others.

    Args:
        network: The network.
        state: Its pretrained weights.
        first: Name of its first convolution, whose kernel is fitted.
        head: Name of its last layer.
        name: The network's name in a message.
        source: The origin of the weights, likewise.

    Raises:
        UserError: If the weights are those of another network.
    """
    state = {key: value for key, value in state.items() if not key.startswith(f"{head}.")}
    kernel = state.get(f"{first}.weight")
    if kernel is not None and kernel.ndim == 4:
        _, channels, side, _ = network.get_parameter(f"{first}.weight").shape
        state[f"{first}.weight"] = fit_channels(fit_kernel(kernel.float(), side), channels)
    try:
        missing, unexpected = network.load_state_dict(state, strict=False)
    except RuntimeError as error:  # a shape
        detail = str(error).splitlines()[-1].strip()
        raise UserError(f"train.model.weights: {source} does not fit {name}: {detail}") from None
    # The number of batches seen is of later date than the oldest files, and of no use here.
    missing = [key for key in missing if not key.startswith(f"{head}.") and not key.endswith("num_batches_tracked")]
    if missing:
        # A weight that is missing says more than a statistic: the file is of another network.
        raise misfit(source, name, min(missing, key=lambda key: key.endswith(STATISTICS)))
    if unexpected:
        raise UserError(f"train.model.weights: {source} does not fit {name}: it has {unexpected[0]}")


def misfit(source: str, name: str, missing: str) -> UserError:
    """Returns the error of weights without what the network needs, here an entry called `missing`."""
    detail = f"it has no {missing}"
    if missing.endswith(STATISTICS):
        # With those of a fresh network (mean 0, variance 1) the features would not be those of the pretraining.
        detail += ", a batch norm's statistic: save the whole state_dict(), not only the parameters"
    return UserError(f"train.model.weights: {source} does not fit {name}: {detail}")
