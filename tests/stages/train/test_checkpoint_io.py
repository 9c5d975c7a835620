"""Checkpoints: the old one stays until the new one is whole."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from sightline.stages.train import checkpoint_io
from sightline.stages.train.checkpoint_io import DurableCheckpointIO

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


def test_any_flipped_bit_and_any_cut_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    DurableCheckpointIO().save_checkpoint({"state_dict": {"weight": torch.arange(64.0)}}, path)
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        with pytest.raises(checkpoint_io.DamagedError):
            checkpoint_io.read_checkpoint(path)
    for size in (0, 1, 63, 64, 65, len(whole) // 2, len(whole) - 64, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(checkpoint_io.DamagedError):
            DurableCheckpointIO().load_checkpoint(path)
    path.write_bytes(whole + b"0")
    with pytest.raises(checkpoint_io.DamagedError):
        checkpoint_io.read_checkpoint(path)
    path.write_bytes(whole)
    assert torch.equal(checkpoint_io.read_checkpoint(path)["state_dict"]["weight"], torch.arange(64.0))


def test_the_last_but_one_is_kept(tmp_path: Path) -> None:
    for epoch in range(3):
        for name in (checkpoint_io.LAST, checkpoint_io.BEST):
            DurableCheckpointIO().save_checkpoint({"epoch": epoch}, tmp_path / name)
    found = {path.name: checkpoint_io.read_checkpoint(path)["epoch"] for path in tmp_path.iterdir()}
    assert found == {checkpoint_io.LAST: 2, checkpoint_io.PREVIOUS: 1, checkpoint_io.BEST: 2}


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
