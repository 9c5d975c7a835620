"""Checkpoints: the old one stays until the new one is whole."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from sightline.train.checkpoint import DurableCheckpointIO

STATE = {"state_dict": {"weight": torch.arange(50_000.0)}, "epoch": 3}


def load(path: Path) -> dict[str, Any]:
    content = torch.load(path, weights_only=True)
    assert isinstance(content, dict)
    return content


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "last.ckpt"
    DurableCheckpointIO().save_checkpoint(STATE, path)
    loaded = DurableCheckpointIO().load_checkpoint(path)
    assert torch.equal(loaded["state_dict"]["weight"], STATE["state_dict"]["weight"])  # type: ignore[index]
    assert loaded["epoch"] == 3
    assert [p.name for p in path.parent.iterdir()] == ["last.ckpt"]


@pytest.mark.parametrize("call", ["fsync", "replace", "chmod"])
def test_a_failing_disk_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    path = tmp_path / "last.ckpt"
    DurableCheckpointIO().save_checkpoint({"epoch": 1}, path)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="No space left"):
        DurableCheckpointIO().save_checkpoint(STATE, path)
    monkeypatch.undo()
    assert load(path) == {"epoch": 1}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full is Linux's")
def test_a_really_full_device_is_an_error_not_an_empty_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bytes go to /dev/full, where every write fails as on a full disk."""
    path = tmp_path / "last.ckpt"
    DurableCheckpointIO().save_checkpoint({"epoch": 1}, path)
    real = torch.save
    monkeypatch.setattr(torch, "save", lambda content, _: real(content, "/dev/full"))
    with pytest.raises((OSError, RuntimeError)):
        DurableCheckpointIO().save_checkpoint(STATE, path)
    assert load(path) == {"epoch": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_while_serialising_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    DurableCheckpointIO().save_checkpoint({"epoch": 1}, path)
    with pytest.raises(TypeError, match="pickle"):
        DurableCheckpointIO().save_checkpoint({**STATE, "handle": io.TextIOWrapper(io.BytesIO())}, path)
    assert load(path) == {"epoch": 1}
    assert list(tmp_path.iterdir()) == [path]
