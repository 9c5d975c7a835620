"""Two processes that train together do what one does with the same batches."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sightline.core.errors import UserError
from sightline.datasets.processed_set import ProcessedSet
from sightline.stages.train import build
from sightline.stages.train.config import TrainConfig
from sightline.stages.train.fit import FitResult, fit
from tests.stages.train.interrupted import SERVER
from tests.stages.train.small import processed_set, train_config

ROOT = Path(__file__).parents[3]
TOGETHER = {"train/trainer": "ddp", "train.trainer.accelerator": "cpu", "train.trainer.devices": 2}
# Without batch norm, whose statistics are of each process's own images on a CPU: the sums must agree.
DENSE = {"train/model": "dense", "train.max_epochs": 3, "train.lr": 0.01}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ProcessedSet:
    # 97 = 6 x 16 + 1: a last image that is no batch; 31: two processes cannot halve it.
    return processed_set(tmp_path_factory.mktemp("together") / "processed", train=97, val=31)


@pytest.fixture(scope="module")
def calm(data: ProcessedSet, tmp_path_factory: pytest.TempPathFactory) -> FitResult:
    """Both, undisturbed."""
    return fit(data, train_config(**DENSE, **TOGETHER), tmp_path_factory.mktemp("calm"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "change", [{}, {"train.accumulate": 2, "train/weight_averaging": "ema", "train.num_workers": 1}]
)
def test_two_processes_lose_what_one_loses(
    data: ProcessedSet, calm: FitResult, tmp_path: Path, change: dict[str, object]
) -> None:
    alone = fit(data, train_config(**DENSE, **change), tmp_path / "alone")
    together = fit(data, train_config(**DENSE, **change, **TOGETHER), tmp_path / "together") if change else calm
    assert together.profile["devices"] == 2
    assert len(together.history) == 3
    for one, two in zip(alone.history, together.history, strict=True):
        assert two["train_loss"] == pytest.approx(one["train_loss"], abs=1e-5)
        assert two["val_loss"] == pytest.approx(one["val_loss"], abs=1e-5)
        assert two["val_accuracy"] == pytest.approx(one["val_accuracy"], abs=1e-9)


def test_no_image_is_lost_or_doubled(data: ProcessedSet) -> None:
    config = train_config(**{"train.batch_size": 16})
    seen: dict[str, list[int]] = {"train": [], "val": []}
    for rank in range(2):
        for name, loader in zip(seen, build.loaders(data, config, rank, 2), strict=True):
            seen[name] += [key for batch in loader for key in batch[2].tolist()]
    for name, keys in seen.items():
        assert len(set(keys)) == len(keys) == len(data.split(name))


@pytest.mark.slow
def test_frozen_weights_and_batch_norm_train_together(data: ProcessedSet, tmp_path: Path) -> None:
    config = train_config(**TOGETHER, **{"train.freeze_epochs": 1, "train.max_epochs": 2})
    result = fit(data, config, tmp_path)
    assert result.history[1]["train_loss"] < result.history[0]["train_loss"]


def _train(root: Path, config: TrainConfig, checkpoints: Path, stop_at: int) -> None:
    from sightline.stages.train.lightning_module import ClassifierModule

    started = ClassifierModule.on_train_batch_start

    def on_train_batch_start(self: ClassifierModule, batch: object, batch_idx: int) -> None:
        if self.trainer.fit_loop.total_batch_idx == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)  # the first process alone: the other is asked by it
        started(self, batch, batch_idx)

    ClassifierModule.on_train_batch_start = on_train_batch_start  # type: ignore[assignment,method-assign]
    fit(ProcessedSet(root), config, checkpoints)


@pytest.mark.slow
def test_a_signal_stops_both_and_both_go_on(data: ProcessedSet, calm: FitResult, tmp_path: Path) -> None:
    config = train_config(**DENSE, **TOGETHER)
    process = SERVER.Process(target=_train, args=(data.root, config, tmp_path / "cut", 8))
    process.start()
    process.join(120)
    assert process.exitcode == 128 + signal.SIGTERM
    resumed = fit(data, config, tmp_path / "cut")
    assert resumed.history == calm.history


@pytest.mark.slow
@pytest.mark.full
def test_torchrun_starts_them_as_well(data: ProcessedSet, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import json, pathlib, sys\n"
        "from sightline.core import distributed as ranks\n"
        "from sightline.datasets.processed_set import ProcessedSet\n"
        "from sightline.stages.train.fit import fit, join\n"
        "from tests.stages.train.test_distributed import DENSE, TOGETHER\n"
        "from tests.stages.train.small import train_config\n"
        "root, out = map(pathlib.Path, sys.argv[1:])\n"
        "what = ProcessedSet(root), train_config(**DENSE, **TOGETHER), out / 'checkpoints'\n"
        "if ranks.rank():\n    join(*what)\n"
        "else:\n    (out / 'history.json').write_text(json.dumps(fit(*what).history))\n"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, str(data.root), str(tmp_path)], env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-3000:]
    alone = fit(data, train_config(**DENSE), tmp_path / "alone")
    rows = json.loads((tmp_path / "history.json").read_text())
    assert [row["train_loss"] for row in rows] == pytest.approx([row["train_loss"] for row in alone.history], abs=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train.batch_size": 3}, "train.batch_size: 3 images are too few for 2 processes: at least 4"),
        ({"train.trainer.devices": 40}, "train.trainer.devices: 40 processes need 40 validation images, there are 31"),
        ({"train.trainer.nodes": 2, "train.batch_size": 32}, "train.trainer.nodes: 2 machines with 2 devices each"),
    ],
)
def test_what_cannot_be_is_one_line(
    data: ProcessedSet, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError) as caught:
        fit(data, train_config(**{**TOGETHER, "train.batch_size": 200, **change}), tmp_path)
    assert str(caught.value).startswith(message)
