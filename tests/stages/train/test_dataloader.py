"""Samples that a training sees: every sample once an epoch, augmented as a function of (seed, epoch, sample) alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sightline.config.compose import compose, typed
from sightline.config.schema import Option
from sightline.datasets.processed_set import ProcessedSet
from sightline.imaging.augment.options import POLICIES
from sightline.stages.train.config import TrainConfig
from sightline.stages.train.dataloader import DirectLoader, SampleDataset, loader
from sightline.stages.train.samplers import EpochBatchSampler, EpochSampler
from tests.stages.train.small import processed_set


def policy(name: str) -> Option:
    return typed(TrainConfig, compose([f"train/augment={name}"]).train, "train").augment


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ProcessedSet:
    return processed_set(tmp_path_factory.mktemp("data") / "processed", train=50, val=7)


# --- order ---------------------------------------------------------------------------------------------------------


@given(length=st.integers(0, 300), seed=st.integers(0, 2**40), epoch=st.integers(0, 1000), shuffle=st.booleans())
def test_every_position_comes_once_an_epoch(length: int, seed: int, epoch: int, shuffle: bool) -> None:
    sampler = EpochSampler(length, seed, shuffle)
    sampler.set_epoch(epoch)
    keys = list(sampler)
    assert len(sampler) == length
    assert {key[0] for key in keys} <= {epoch}
    positions = [key[1] for key in keys]
    assert sorted(positions) == list(range(length))
    assert shuffle or positions == list(range(length))
    assert list(sampler) == keys


def test_order_differs_between_epochs_and_seeds_and_is_the_same_again() -> None:
    def order(seed: int, epoch: int) -> tuple[int, ...]:
        sampler = EpochSampler(100, seed, shuffle=True)
        sampler.set_epoch(epoch)
        return tuple(position for _, position in sampler)

    orders = {order(seed, epoch) for seed in range(5) for epoch in range(5)}
    assert len(orders) == 25
    assert order(3, 2) == order(3, 2)


@given(skip=st.integers(0, 6))
def test_a_resumed_epoch_is_the_rest_of_it_and_the_next_is_whole(skip: int) -> None:
    whole, resumed = (EpochBatchSampler(EpochSampler(40, 1, shuffle=True), 7) for _ in range(2))
    resumed.resume(2, skip)
    whole.sampler.set_epoch(2)
    assert list(resumed) == list(whole)[skip:]
    for batches in (whole, resumed):
        batches.sampler.set_epoch(3)
    assert list(resumed) == list(whole)


@given(length=st.integers(8, 300), batch_size=st.integers(8, 64), world=st.integers(1, 4))
def test_the_parts_of_several_processes_make_up_the_batches_of_one(length: int, batch_size: int, world: int) -> None:
    order = EpochSampler(length, 0, shuffle=True)
    alone = EpochBatchSampler(order, batch_size)
    parts = [EpochBatchSampler(order, batch_size, rank, world) for rank in range(world)]
    assert {len(part) for part in parts} == {len(list(part)) for part in parts}
    seen = [key for step in zip(*parts, strict=True) for part in step for key in part]
    assert seen == [key for batch in alone for key in batch] == list(order)
    for step, size in zip(zip(*parts, strict=True), parts[0].sizes, strict=True):
        lengths = [len(part) for part in step]
        assert sum(lengths) == size
        assert max(lengths) - min(lengths) <= 1
        assert min(lengths) >= 2
        assert batch_size // 2 < size < batch_size + 2 * world or size < batch_size


# --- batches -------------------------------------------------------------------------------------------------------


def epoch_of(
    data: ProcessedSet,
    name: str | None,
    *,
    epoch: int = 0,
    seed: int = 0,
    batch_size: int = 16,
    workers: int = 0,
    shuffle: bool = True,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns all images and labels of an epoch, in the order in which training sees them."""
    samples = SampleDataset(data.split("train"), seed, None if name is None else policy(name))
    batches = EpochBatchSampler(EpochSampler(len(samples), seed, shuffle), batch_size)
    batches.sampler.set_epoch(epoch)  # as Lightning does
    seen = list(loader(samples, batches, workers))
    assert [len(batch[0]) for batch in seen[:-1]] == [batch_size] * (len(seen) - 1)
    return torch.cat([batch[0] for batch in seen]), torch.cat([batch[1] for batch in seen])


@pytest.mark.parametrize("name", [None, "none"])
def test_without_augmentation_batches_are_the_split_itself(data: ProcessedSet, name: str | None) -> None:
    images, labels = epoch_of(data, name, shuffle=False)
    train = data.split("train")
    np.testing.assert_array_equal(images.numpy(), train.images())
    np.testing.assert_array_equal(labels.numpy(), train.labels)
    assert images.dtype == torch.uint8
    assert labels.dtype == torch.int64


@pytest.mark.parametrize("name", [None, "digits"])
@pytest.mark.parametrize(("batch_size", "workers"), [(16, 1), (16, 2), (7, 0), (1, 0), (50, 0), (64, 2)])
def test_neither_workers_nor_batch_size_change_what_is_seen(
    data: ProcessedSet, name: str | None, batch_size: int, workers: int
) -> None:
    expected = epoch_of(data, name, epoch=3)
    seen = epoch_of(data, name, epoch=3, batch_size=batch_size, workers=workers)
    assert torch.equal(seen[0], expected[0])
    assert torch.equal(seen[1], expected[1])


@pytest.mark.parametrize("name", sorted(set(POLICIES) - {"none"}))
def test_every_policy_is_a_function_of_seed_epoch_and_sample(data: ProcessedSet, name: str) -> None:
    def seen(**where: Any) -> torch.Tensor:
        return epoch_of(data, name, shuffle=False, **where)[0]

    original = torch.from_numpy(data.split("train").images())
    base = seen()
    np.random.seed(1)
    torch.manual_seed(1)
    assert torch.equal(seen(), base)
    assert torch.equal(seen(batch_size=7, workers=2), base)
    changed = [base != original, base != seen(epoch=1), base != seen(seed=1)]
    for difference in changed:
        share = difference.flatten(1).any(1).double().mean()
        assert share > 0.4  # policies that act on every second image leave some as they are


def test_a_sample_is_augmented_alike_whatever_comes_beside_it(data: ProcessedSet) -> None:
    """The order of the epoch, and which others are in the batch, do not matter: only (seed, epoch, id) does."""
    train = data.split("train")
    shuffled, _ = epoch_of(data, "digits", epoch=2)
    sampler = EpochSampler(len(train), 0, shuffle=True)
    sampler.set_epoch(2)
    in_order, _ = epoch_of(data, "digits", epoch=2, shuffle=False)
    for image, (_, position) in zip(shuffled, sampler, strict=True):
        assert torch.equal(image, in_order[position])


def test_equal_images_with_other_ids_are_augmented_apart(tmp_path: Path) -> None:
    processed_set(tmp_path / "twins", train=20, val=1)
    shard = tmp_path / "twins" / "shard-0.npy"
    pixels = np.load(shard)
    pixels[:] = pixels[0]
    np.save(shard, pixels)
    images, _ = epoch_of(ProcessedSet(tmp_path / "twins"), "digits")
    assert len({image.numpy().tobytes() for image in images}) == 20


def sides(tmp_path: Path, count: int = 64) -> ProcessedSet:
    """A set whose images are bright on the left and dark on the right."""
    data = processed_set(tmp_path / "sides", train=count, val=1, size=16)
    shard = tmp_path / "sides" / "shard-0.npy"
    pixels = np.load(shard)
    pixels[:] = 20
    pixels[:, :, :6] = 220
    np.save(shard, pixels)
    return ProcessedSet(data.root)


def flipped(data: ProcessedSet, name: str) -> int:
    """Counts, over four epochs, the images that are brighter on the right than on the left."""
    seen = torch.cat([epoch_of(data, name, epoch=epoch)[0] for epoch in range(4)]).float()
    return int((seen[:, :, 8:].mean((1, 2, 3)) > seen[:, :, :8].mean((1, 2, 3))).sum())


def test_digits_are_never_mirrored(tmp_path: Path) -> None:
    data = sides(tmp_path)
    assert flipped(data, "digits") == 0
    assert flipped(data, "light") == 0
    mirrored = flipped(data, "standard")  # the same measure sees a flip where there are some: half of 256
    assert 80 < mirrored < 176


def test_the_shards_themselves_are_never_changed(data: ProcessedSet) -> None:
    before = data.split("train").images().copy()
    epoch_of(data, "standard")
    np.testing.assert_array_equal(data.split("train").images(), before)


# --- without torch's loader ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", [None, torch.device("cpu")])
def test_the_direct_loader_gives_the_same_batches(data: ProcessedSet, device: torch.device | None) -> None:
    samples = SampleDataset(data.split("train"), 5)
    batches = EpochBatchSampler(EpochSampler(len(samples), 5, shuffle=True), 16)
    direct = DirectLoader(samples, batches, device)
    for epoch, skip in ((0, 0), (3, 2)):
        batches.resume(epoch, skip)
        expected = list(loader(samples, batches, 0))
        batches.resume(epoch, skip)
        seen = list(direct)
        assert len(seen) == len(expected) == len(direct) - skip
        for ours, theirs in zip(seen, expected, strict=True):
            for one, other in zip(ours, theirs, strict=True):
                assert torch.equal(one, other)
                assert one.dtype == other.dtype
    assert direct.waited > 0
    seen[0][0][:] = 0  # a batch is the caller's own
    assert torch.equal(
        next(iter(DirectLoader(samples, batches, device)))[0], next(iter(loader(samples, batches, 0)))[0]
    )


# --- the end of a training ---------------------------------------------------------------------------------------

TRAINING = """
import multiprocessing, os, sys
from pathlib import Path
from sightline.core import files
from sightline.stages.train import fit
from tests.stages.train.small import processed_set, train_config

if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    files.die_with_parent(int(sys.argv[2]))
    root = Path(sys.argv[3])
    settings = {"train.num_workers": 2, "train.cache_in_memory": "never", "train.max_epochs": 100000}
    fit.fit(processed_set(root / "data"), train_config(**settings), root / "checkpoints")
"""


def parents() -> dict[int, int]:
    """Returns the parent of each process that has not ended."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state not in "ZX":
            found[int(path.parent.name)] = int(parent)
    return found


def descendants(pid: int) -> set[int]:
    tree = parents()
    found, todo = set[int](), {pid}
    while todo := {child for child, parent in tree.items() if parent in todo}:
        found |= todo
    return found


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the processes are looked up in /proc")
def test_a_killed_training_leaves_no_process(tmp_path: Path) -> None:
    (program := tmp_path / "program.py").write_text(TRAINING)
    # The default of Python 3.14. Workers that are forks of the training ask torch's watchdog, too.
    command = [sys.executable, str(program), "forkserver", str(os.getpid()), str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment) as training:
        checkpoints = tmp_path / "checkpoints"
        while training.poll() is None and not (checkpoints.is_dir() and any(checkpoints.iterdir())):
            time.sleep(0.05)
        assert training.poll() is None
        left = descendants(training.pid)
        training.kill()
    assert len(left) >= 2
    deadline = time.monotonic() + 60
    while (left := left & parents().keys()) and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left
