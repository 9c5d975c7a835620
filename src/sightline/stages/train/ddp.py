"""Training on several devices: one process per device, started here or by an external launcher.

Lightning starts its processes by running the command line again. But that command may be a sweep (`-m`), which each
process would then start again, and under `dvc repro` each would wait for the stage's lock. Here the first process is
the stage itself, and it starts the others as functions.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

from sightline.core import distributed, files
from sightline.core.errors import UserError
from sightline.stages.train.config import TrainConfig

_log = logging.getLogger(__name__)

_SECONDS_TO_END = 20


@contextlib.contextmanager
def processes(world: int, data: Path, config: TrainConfig, checkpoints: Path) -> Iterator[int]:
    """Yields this process's rank, after starting the other processes if needed; on exit, waits until they have ended.

    Args:
        world: Number of processes that train together.
        data: The processed set.
        config: The train section.
        checkpoints: Folder of the run's checkpoints.

    Raises:
        UserError: If several machines are configured but no launcher has started a process for each of their devices.
    """
    if world == 1:
        yield 0
        return
    if distributed.started(world):
        with _group():
            yield distributed.rank()
        return
    hardware = config.trainer
    if hardware.nodes > 1:
        raise UserError(
            f"train.trainer.nodes: {hardware.nodes} machines with {hardware.devices} devices each need {world} "
            "processes that know of each other: start python -m pipeline.train by torchrun or srun (docs/training.md)"
        )
    spawn = multiprocessing.get_context("spawn")
    port = _free_port()
    others: list[BaseProcess] = [
        spawn.Process(target=_join, args=(_environment(rank, world, port), data, config, checkpoints))
        for rank in range(1, world)
    ]
    with _set(_environment(0, world, port)):
        for process in others:
            process.start()
        done = threading.Event()
        threading.Thread(target=_watch, args=(others, done), daemon=True).start()
        try:
            with _group():
                yield 0
            for process in others:
                process.join(_SECONDS_TO_END)
        finally:
            done.set()
            for process in others:
                if process.is_alive():
                    process.terminate()
                process.join()


def _join(environment: dict[str, str], data: Path, config: TrainConfig, checkpoints: Path) -> None:
    """Takes part in the training as one of the processes other than the first."""
    parent = multiprocessing.parent_process()
    files.die_with_parent(parent.pid if parent else None)
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one decides for them
    from sightline.datasets.processed_set import ProcessedSet
    from sightline.stages.train.fit import join

    join(ProcessedSet(data), config, checkpoints)


def _watch(others: list[BaseProcess], done: threading.Event) -> None:
    """Ends this process if one of the others fails, since a collective operation would wait for it forever."""
    while not done.wait(0.5):
        failed = [process for process in others if process.exitcode not in (None, 0)]
        if failed:
            codes = ", ".join(str(process.exitcode) for process in failed)
            _log.warning(f"train: {len(failed)} of the processes that train together failed (exit code {codes})")
            if not done.wait(_SECONDS_TO_END):  # time for this process to raise its own, more informative error
                os._exit(1)
            return


@contextlib.contextmanager
def _group() -> Iterator[None]:
    """Destroys the process group on exit, because a sweep's next job creates its own."""
    import torch.distributed as dist

    try:
        yield
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _environment(rank: int, world: int, port: str) -> dict[str, str]:
    """Returns the variables that torchrun would set."""
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(world),
        "LOCAL_WORLD_SIZE": str(world),
        "GROUP_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "TORCHELASTIC_RUN_ID": "sightline",
    }


@contextlib.contextmanager
def _set(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return str(listener.getsockname()[1])
