"""Digest and licence of the weights that a network begins with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sightline.core import files
from sightline.core.errors import UserError
from sightline.models import weights_origin
from sightline.stages.watch.fingerprint import WatchedWeights, watch_weights


def test_no_file_has_nothing_to_record() -> None:
    assert weights_origin.of_weights(None) is None
    assert weights_origin.of_weights("DEFAULT") is None


@pytest.mark.parametrize(
    ("name", "metadata", "beside", "licence"),
    [
        ("w.safetensors", {"license": "Apache-2.0"}, None, "Apache-2.0"),
        ("w.safetensors", {"license": "Apache-2.0"}, "SPDX-License-Identifier: MIT\n", "MIT"),
        ("w.safetensors", {"format": "pt"}, None, "unspecified"),
        ("w.pth", None, "# text\nSPDX-License-Identifier:  CC-BY-4.0 \n", "CC-BY-4.0"),
        ("w.pth", None, None, "unspecified"),
    ],
)
def test_the_licence_is_the_files_or_stands_beside_it(
    tmp_path: Path, name: str, metadata: dict[str, str] | None, beside: str | None, licence: str
) -> None:
    path, state = tmp_path / name, {"weight": torch.ones(3)}
    save_file(state, path, metadata) if name.endswith("safetensors") else torch.save(state, path)
    if beside:
        Path(f"{path}.license").write_text(beside)
    assert weights_origin.of_weights(str(path)) == {"sha256": files.sha256_file(path), "license": licence}
    watch_weights(WatchedWeights(str(path), "resnet18"), tmp_path / "weights.json")
    assert json.loads((tmp_path / "weights.json").read_text())["weights"]["license"] == licence


@pytest.mark.parametrize(
    "content", [b"", b"no weights", b"\xff" * 64, b"\x02\x00\x00\x00\x00\x00\x00\x00[]", b"\x08" * 9]
)
def test_what_is_no_weights_file_has_no_licence_and_is_refused_by_its_reader(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    found = weights_origin.of_weights(str(path))
    assert found is not None
    assert found["license"] == "unspecified"


def test_a_missing_file_and_a_licence_that_says_nothing_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^train\.model\.weights: no file nowhere\.pth$"):
        weights_origin.of_weights("nowhere.pth")
    (tmp_path / "w.pth").write_bytes(b"1")
    (tmp_path / "w.pth.license").write_text("do as you like")
    with pytest.raises(UserError, match=r"w\.pth\.license: has no line 'SPDX-License-Identifier: \.\.\.'"):
        weights_origin.of_weights(str(tmp_path / "w.pth"))
