"""Training on a GPU: speed relative to a bare compiled loop, time to a target accuracy, and reproducibility.

    python benchmarks/gpu.py throughput [--images 50000] [--epochs 4]
    python benchmarks/gpu.py fashion [--epochs 10]
    python benchmarks/gpu.py same [--images 10000] [--epochs 2]
    python benchmarks/gpu.py resume [--images 10000] [--epochs 4]
    python benchmarks/gpu.py augment [--images 4096]
    python benchmarks/gpu.py export [--images 10000] [--epochs 2]
    python benchmarks/gpu.py all [--minutes 8]

Throughput: resnet9 on random images of CIFAR-10's shape. Measures the images per second of `stages.train.fit` after the
first epoch, relative to a bare loop with the same network, compiled, in bf16, over a single batch that stays on the GPU
(target: at least 0.9), and the share of time spent waiting for data (target: under 2 %).

Fashion: seconds of training, without compilation, to reach 94 % on Fashion-MNIST's test images (target: under 30).

Same: whether two trainings produce weights with the same digest.

Resume: whether a training that is killed (SIGKILL) after its first epoch and resumed produces the same weights as one
that is not interrupted.

Augment: images per second of each augmentation policy on batches on the GPU, and the difference of its pixels from
those computed on the CPU.

Export: whether the ONNX file of a network trained on the GPU predicts the same classes as the network on the GPU, and
the largest difference between their probabilities.

All: each of these in a separate process, within a time limit, with the name of the GPU.

`--device cpu`, with few images, only checks that the commands run.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from fashion import FLIP, ROOT, processed
from train import random_set

from sightline.config.compose import compose, typed
from sightline.core import files, terminal_log
from sightline.datasets.processed_set import ProcessedSet
from sightline.models.saved_model import weights_bytes
from sightline.stages.train.build import network
from sightline.stages.train.config import TrainConfig
from sightline.stages.train.fit import FitResult, fit

BATCH = 512


def configured(options: argparse.Namespace, *more: str, plain: bool = False) -> TrainConfig:
    """Returns the train section: resnet9 on the device, compiled on a GPU; `plain` omits the flip-only augmentation."""
    flip = [] if plain else FLIP
    settings = ["train/model=resnet9", f"train/trainer={options.device}", "train.augment_on=batch", *flip]
    settings += [f"train.trainer.compile={options.device == 'gpu'}", f"train.batch_size={BATCH}", "train.patience=99"]
    settings += ["train/schedule=one_cycle", "train/optimizer=sgd", "train.lr=0.4", "train.loss.label_smoothing=0.1"]
    return typed(TrainConfig, compose([*settings, f"train.max_epochs={options.epochs}", *more]).train, "train")


def trained(data: ProcessedSet, config: TrainConfig) -> tuple[FitResult, list[dict[str, float]]]:
    """Trains; returns the result and the metrics of each epoch."""
    epochs: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        return fit(data, config, Path(folder), lambda metrics, _: epochs.append(dict(metrics))), epochs


def bare(data: ProcessedSet, config: TrainConfig, steps: int, device: str) -> float:
    """Returns images per second of the same network in a bare compiled loop in bf16."""
    import torch

    classifier = network(data, config).classifier.to(device).train()
    if device == "cpu":
        classifier.network.to(memory_format=torch.channels_last)
    height, width, channels = data.shape
    images = torch.randn(BATCH, channels, height, width, device=device).to(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (BATCH,), device=device)
    optimizer = torch.optim.SGD(classifier.parameters(), 0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    started = 0.0
    for step in range(-20, steps):
        if step == 0:
            synchronize()
            started = time.perf_counter()
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            loss = torch.nn.functional.cross_entropy(classifier.network(images), labels)
        loss.backward()
        optimizer.step()
    synchronize()
    return steps * BATCH / (time.perf_counter() - started)


def synchronize() -> None:
    """Waits for the GPU, if there is one."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def throughput(options: argparse.Namespace) -> None:
    """Prints the ratio to the bare loop, and the share of time spent waiting for data."""
    with tempfile.TemporaryDirectory() as folder:
        data = random_set(Path(folder) / "set", options.images, (32, 32, 3))
        config = configured(options)
        _, epochs = trained(data, config)
        ours = options.images / statistics.median(epoch["epoch_seconds"] for epoch in epochs[1:])
        steps = max(1, options.images // BATCH)
        theirs = bare(data, config, steps, "cuda" if options.device == "gpu" else "cpu")
    stall = statistics.median(epoch["data_stall"] for epoch in epochs[1:])
    print(f"ours {ours:,.0f} images/s, bare {theirs:,.0f}: ratio {ours / theirs:.3f}; waiting for data {stall:.1%}")


def fashion(options: argparse.Namespace) -> None:
    """Prints the seconds to 94 %; the first epoch, which includes compilation, counts as long as the second."""
    with tempfile.TemporaryDirectory() as folder:
        data = processed(Path(folder) / "set")
        _, epochs = trained(data, configured(options, "train/augment=standard", "train.augment.rotate=0"))
    seconds = [epochs[1]["epoch_seconds"], *(epoch["epoch_seconds"] for epoch in epochs[1:])]
    for number, epoch in enumerate(epochs):
        print(f"{sum(seconds[: number + 1]):6.1f} s  {epoch['val_accuracy']:.4f}")


def same(options: argparse.Namespace) -> None:
    """Prints whether two trainings in separate processes produced the same weights."""
    with tempfile.TemporaryDirectory() as folder:
        random_set(Path(folder) / "set", options.images, (32, 32, 3))
        digests = {run_one(options, folder, name, compiled=True).splitlines()[-1] for name in ("first", "second")}
    print("the same weights" if len(digests) == 1 else "two trainings differ")


def one_words(options: argparse.Namespace, folder: str, name: str, compiled: bool) -> list[str]:
    """Returns the command that runs one training with its checkpoints in `folder`/`name`."""
    words = [sys.executable, __file__, "one", "--device", options.device, "--folder", folder, "--name", name]
    return [*words, "--epochs", str(options.epochs), *(["--compiled"] if compiled else [])]


def run_one(options: argparse.Namespace, folder: str, name: str, compiled: bool) -> str:
    """Runs one training to its end; returns its output."""
    command = one_words(options, folder, name, compiled)
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def one(options: argparse.Namespace) -> None:
    """Trains with checkpoints in a persistent folder, and prints the digest of the weights; for `same` and `resume`."""
    terminal_log.configure()  # `resume` reads in the log whether the training resumed from a checkpoint
    folder = Path(options.folder)
    data = ProcessedSet(folder / "set")
    fitted = fit(data, configured(options, f"train.trainer.compile={options.compiled}"), folder / options.name)
    print("DIGEST", files.sha256(weights_bytes(fitted.classifier)))


def resume(options: argparse.Namespace) -> None:
    """Prints whether a training that was killed and resumed produced the weights of an uninterrupted one."""
    with tempfile.TemporaryDirectory() as folder:
        random_set(Path(folder) / "set", options.images, (32, 32, 3))
        whole = run_one(options, folder, "whole", compiled=False)
        cut = subprocess.Popen(one_words(options, folder, "cut", compiled=False), stdout=subprocess.DEVNULL)
        while not (Path(folder) / "cut" / "last.ckpt").exists():
            if cut.poll() is not None:
                raise SystemExit("the training ended before it could be killed")
            time.sleep(0.02)
        cut.send_signal(signal.SIGKILL)
        cut.wait()
        rest = run_one(options, folder, "cut", compiled=False)
    way = "went on" if "going on with epoch" in rest else "began anew"
    outcome = "the same" if whole.splitlines()[-1] == rest.splitlines()[-1] else "OTHER"
    print(f"killed and resumed: it {way}, {outcome} weights")


def augment(options: argparse.Namespace) -> None:
    """Prints each policy's speed on the device, and how far its pixels differ from those computed on the CPU."""
    import torch

    from sightline.imaging.augment import torch_backend

    device = "cuda" if options.device == "gpu" else "cpu"
    images = torch.randint(0, 256, (options.images, 32, 32, 3), dtype=torch.uint8)
    keys = torch.arange(options.images, dtype=torch.int64) * 0x9E3779B97F4A7C1
    for name in ("light", "standard", "cutout", "randaugment", "trivialaugment"):
        change = torch_backend.build(configured(options, f"train/augment={name}", plain=True).augment)
        if change is None:
            raise SystemExit(f"{name} does nothing")
        there, keys_there = images.to(device), keys.to(device)
        result = change(there, keys_there)
        far = (result.cpu() - change(images, keys)).abs()
        synchronize()
        started = time.perf_counter()
        for _ in range(10):
            change(there, keys_there)
        synchronize()
        rate = 10 * options.images / (time.perf_counter() - started)
        print(
            f"{name:<15} {rate:>14,.0f} images/s, from the CPU's pixels: largest {far.max():.3f}, "
            f"above 1 level: {(far > 1).float().mean():.5%}"
        )


def export(options: argparse.Namespace) -> None:
    """Prints whether the ONNX file on the CPU gives the same answers as the network on the device."""
    import numpy as np
    import onnxruntime
    import torch

    from sightline.stages.export.onnx import to_onnx

    with tempfile.TemporaryDirectory() as folder:
        data = processed(Path(folder) / "set")
        settings = ["train/augment=standard", "train.augment.rotate=0", "train.trainer.compile=false"]
        fitted, _ = trained(data, configured(options, *settings))
        images = data.split("val").images(slice(min(options.images, 10_000)))
    device = "cuda" if options.device == "gpu" else "cpu"
    model = to_onnx(fitted.classifier, data.shape, 20)
    network_there = fitted.classifier.to(device).eval()
    with torch.inference_mode():
        parts = [network_there(torch.from_numpy(part).to(device)) for part in np.array_split(images, 20)]
        theirs = torch.softmax(torch.cat(parts).float(), dim=1).cpu().numpy()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    ours = np.concatenate([session.run(None, {"images": part})[0] for part in np.array_split(images, 20)])
    differ = int((ours.argmax(1) != theirs.argmax(1)).sum())
    print(f"{differ} of {len(images)} images get another class; largest difference {np.abs(ours - theirs).max():.2e}")


def everything(options: argparse.Namespace) -> None:
    """Runs each measurement in a separate process."""
    import torch

    chip = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    print(f"{chip}, torch {torch.__version__}", flush=True)
    ends = time.monotonic() + 60 * options.minutes
    small = ["--images", "512"] if options.device == "cpu" else []
    for words in (["same"], ["resume"], ["augment", "--images", "4096"], ["export"], ["fashion"], ["throughput"]):
        left = ends - time.monotonic()
        if left < 10:
            print(f"{words[0]}: no time left")
            continue
        command = [sys.executable, __file__, *words, "--device", options.device, *small]
        started = time.monotonic()
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=left)
            output, code = done.stdout, done.returncode
        except subprocess.TimeoutExpired as error:
            output, code = bytes(error.stdout or b"").decode(), 124
        print(f"--- {words[0]} (exit {code}, {time.monotonic() - started:.0f} s)\n{output[-2500:]}", flush=True)


def main() -> None:
    """Runs the measurement that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs: dict[str, Any] = {
        "throughput": throughput,
        "fashion": fashion,
        "same": same,
        "resume": resume,
        "augment": augment,
        "export": export,
        "all": everything,
        "one": one,
    }
    defaults = {"same": (10_000, 2), "resume": (10_000, 4), "export": (10_000, 2), "fashion": (0, 12)}
    parser.add_argument("what", choices=list(verbs))
    parser.add_argument("--device", choices=["gpu", "cpu"], default="gpu")
    parser.add_argument("--images", type=int)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--compiled", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    parser.add_argument("--name", help=argparse.SUPPRESS)
    options = parser.parse_args()
    images, epochs = defaults.get(options.what, (50_000, 4))
    options.images, options.epochs = options.images or images, options.epochs or epochs
    os.chdir(ROOT)
    verbs[options.what](options)


if __name__ == "__main__":
    main()
