"""The origin of a network's pretrained weights: digest and licence of their file.

PyTorch is not imported, because `watch` calls this at every `dvc repro`.
"""

from __future__ import annotations

import re
from pathlib import Path

from sightline.core import files
from sightline.core.errors import UserError
from sightline.core.json_fields import field, parse_object
from sightline.core.project import located
from sightline.models import packaged_weights

UNSPECIFIED = "unspecified"
_LICENCE = re.compile(r"SPDX-License-Identifier:\s*(\S[^\n]*)")
_LARGEST_HEADER = 100_000_000
"""Maximum size of a safetensors file's header in bytes, as in the format's own library."""


def of_weights(weights: str | None, network: str = "") -> dict[str, str] | None:
    """Returns the record of a network's pretrained weights: `sha256` and `license` of the file.

    The licence is taken from a line `SPDX-License-Identifier: ...` in the file `<name>.license` in the same folder, as
    in the REUSE specification, or else from the entry `license` of a `.safetensors` file's metadata.

    Args:
        weights: The configured value: a path, "package" for an installed package, "DEFAULT" for the weights of the
            library that has the network, or None.
        network: The network's name, which determines the package.

    Returns:
        The record; None if there is no file (random weights, or weights that a library finds by name).

    Raises:
        UserError: If there is no such file or package, or the `.license` file has no such line.
    """
    if weights is None or weights == "DEFAULT":
        return None
    if weights == packaged_weights.PACKAGE:
        file = packaged_weights.weights_file(network)
        return {"sha256": files.sha256_file(file), "license": packaged_weights.LICENSE}
    path = located(weights)
    if not path.is_file():
        raise UserError(f"train.model.weights: no file {weights}")
    return {"sha256": files.sha256_file(path), "license": _beside(path) or _inside(path) or UNSPECIFIED}


def _beside(path: Path) -> str | None:
    beside = path.with_name(f"{path.name}.license")
    if not beside.is_file():
        return None
    found = _LICENCE.search(beside.read_text(encoding="utf-8", errors="replace"))
    if found is None:
        raise UserError(f"{beside}: has no line 'SPDX-License-Identifier: ...' that names the licence of {path.name}")
    return found[1].strip()


def _inside(path: Path) -> str | None:
    """Returns the licence in a safetensors file's header; None for any other file, which loading will reject."""
    if path.suffix != ".safetensors":
        return None
    with path.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        if size > min(_LARGEST_HEADER, path.stat().st_size):
            return None
        header = stream.read(size)
    try:
        return field(field(parse_object(header), "__metadata__", dict), "license", str)
    except ValueError:
        return None
