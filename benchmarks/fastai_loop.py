"""fastai with its own defaults on a folder of images, within a budget of CPU seconds; run by own_pictures.py.

    python benchmarks/fastai_loop.py FOLDER WEIGHTS SIDE SECONDS

FOLDER contains train, val and test, each with a folder per class. The script follows fastai's own first example:
`aug_transforms()`, batches of 64 (or fewer, if there are fewer images), `vision_learner` and `fine_tune`, with timm's
EfficientNet-Lite0 and its ImageNet weights from a file. It times one epoch with the body frozen and one of the whole
network, and then trains for as many epochs as the budget allows. It prints the accuracy on the test split, the CPU
seconds and the number of epochs.
"""

from __future__ import annotations

import contextlib
import io
import resource
import sys
from pathlib import Path
from typing import Any

import timm
import torch
from fastai.vision.all import (
    CategoryBlock,
    DataBlock,
    GrandparentSplitter,
    ImageBlock,
    Resize,
    accuracy,
    aug_transforms,
    get_image_files,
    parent_label,
    vision_learner,
)

NETWORK = "tf_efficientnet_lite0"


def processor_seconds() -> float:
    """Returns the CPU seconds that this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def learner(loaders: Any, weights: str) -> Any:
    """Returns fastai's learner with the pretrained body frozen."""
    made = vision_learner(loaders, NETWORK, metrics=accuracy, pretrained=False)
    names = timm.create_model(NETWORK, num_classes=1000).state_dict()
    state = dict(zip(names, torch.load(weights, weights_only=True).values(), strict=True))
    body = made.model[0].model
    body.load_state_dict({name: state[name] for name in body.state_dict()})
    made.freeze()
    return made


def seconds_of(work: Any) -> float:
    """Calls a function; returns the CPU seconds that it used."""
    before = processor_seconds()
    work()
    return processor_seconds() - before


def main() -> None:
    """Times an epoch, fine-tunes for as many epochs as the budget allows, and scores the test split."""
    folder, weights, side, seconds = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    torch.manual_seed(0)
    block = DataBlock(
        blocks=(ImageBlock, CategoryBlock),
        get_items=get_image_files,
        get_y=parent_label,
        splitter=GrandparentSplitter("train", "val"),
        item_tfms=Resize(side),
        batch_tfms=aug_transforms(),
    )
    loaders = block.dataloaders(folder, bs=min(64, len(get_image_files(folder / "train"))), num_workers=0)
    with contextlib.redirect_stdout(io.StringIO()):
        trial = learner(loaders, weights)
        with trial.no_bar():
            frozen = seconds_of(lambda: trial.fit_one_cycle(1))
            trial.unfreeze()
            whole = seconds_of(lambda: trial.fit_one_cycle(1))
        epochs = max(1, int((seconds - frozen) / whole))
        learn = learner(loaders, weights)
        with learn.no_bar():
            used = seconds_of(lambda: learn.fine_tune(epochs))
            answers, labels = learn.get_preds(dl=loaders.test_dl(get_image_files(folder / "test"), with_labels=True))
    right = float((answers.argmax(1) == labels).float().mean())
    print(f"{right:.4f} {used:.0f} {epochs}")


if __name__ == "__main__":
    main()
