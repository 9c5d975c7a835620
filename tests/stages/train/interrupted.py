"""A training in a separate process, which can be killed at any step; the parent restarts it until it is done."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Sequence
from pathlib import Path

# Children are forked from a server that has done the imports, which take ten seconds, but has computed nothing.
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["sightline.stages.train.fit", "tests.stages.train.interrupted"])


def _train(data: Path, checkpoints: Path, out: Path, config: dict, kill_at: int | None, number: int) -> None:
    from sightline.core import files
    from sightline.datasets.processed_set import ProcessedSet
    from sightline.models import saved_model
    from sightline.stages.train import fit as fitting
    from sightline.stages.train.lightning_module import ClassifierModule
    from tests.stages.train.small import train_config

    started = ClassifierModule.on_train_batch_start

    def on_train_batch_start(self, batch, batch_idx):
        if self.trainer.fit_loop.total_batch_idx == kill_at:
            os.kill(os.getpid(), number)
        started(self, batch, batch_idx)

    ClassifierModule.on_train_batch_start = on_train_batch_start
    fitted = fitting.fit(ProcessedSet(data), train_config(**config), checkpoints)
    digest = files.sha256(saved_model.weights_bytes(fitted.classifier))
    out.write_text(json.dumps({"weights": digest, "history": fitted.history, "best": fitted.best}))


def train(
    data: Path, folder: Path, config: dict, kills: Sequence[int] = (), number: int = signal.SIGKILL
) -> tuple[dict, list[int]]:
    """Trains, with one kill at each step in `kills` in turn; returns the result and all exit codes."""
    checkpoints, out = folder / "checkpoints", folder / "out.json"
    codes = []
    for kill_at in [*kills, None]:
        process = SERVER.Process(target=_train, args=(data, checkpoints, out, config, kill_at, number))
        process.start()
        process.join(120)
        codes.append(process.exitcode)
    return json.loads(out.read_text()), codes
