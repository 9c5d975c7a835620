"""A contact sheet of images before and after every step and in training, to help choose options.

It is drawn on demand and is not an output of the stage, because then every later stage would depend on fonts and on
this file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sightline.config.schema import Option
from sightline.core import files, seeds
from sightline.core.errors import UserError
from sightline.imaging.augment import albumentations_backend as augment_policy
from sightline.imaging.augment import options as augment_options
from sightline.imaging.augment.epoch_images import epoch_images
from sightline.reporting.contact_sheet import SheetRow, draw_sheet, row_of
from sightline.stages.preprocess.config import PreprocessConfig
from sightline.stages.preprocess.options import policy_and_copies
from sightline.stages.preprocess.pixel_task import encoded_images
from sightline.stages.preprocess.raw_table import RawSet
from sightline.stages.preprocess.stage import build_transform

COPIES = 3
"""Maximum number of augmented copies shown of each image."""
EPOCHS = 3
"""Number of training epochs for which each image is shown."""


@dataclass(frozen=True)
class TrainingAugmentation:
    """The augmentation of images in training: its policy, the engine that runs it, and its seed."""

    policy: Option
    engine: str
    seed: int


def sample_images(images: RawSet, count: int, seed: int = 0) -> list[tuple[str, str, bytes]]:
    """Returns (id, label, encoded bytes) of a sample: evenly from all classes, within a class by a hash of the id."""
    labels = images.table["label"].to_pylist()
    by_label: dict[str, list[tuple[bytes, int]]] = {}
    for place, identity in enumerate(images.table["id"].to_pylist()):
        digest = hashlib.blake2b(f"{seed}\0{identity}".encode(), digest_size=8).digest()
        by_label.setdefault(labels[place], []).append((digest, place))
    queues = [iter(sorted(by_label[label])) for label in sorted(by_label)]
    chosen: list[int] = []
    while len(chosen) < min(count, len(images)):
        chosen += [place for queue in queues for _, place in [next(queue, (b"", -1))] if place >= 0]
    wanted = sorted(chosen[:count], key=lambda place: (labels[place], place))
    return [(str(images.table["id"][place]), labels[place], _bytes_of(images, place)) for place in wanted]


def _bytes_of(images: RawSet, place: int) -> bytes:
    shard = int(np.searchsorted(images.begins, place, side="right")) - 1
    row = place - int(images.begins[shard])
    return next(data for at, data in enumerate(encoded_images(images.shards[shard])) if at == row)


def rows_of(
    chosen: Sequence[tuple[str, str, bytes]], config: PreprocessConfig, training: TrainingAugmentation | None = None
) -> Iterator[SheetRow]:
    """Yields the sheet's rows, including each image as `training` augments it in the first epochs."""
    transform = build_transform(config)
    policy, copies = policy_and_copies(config.augment)
    augmentation = None
    if copies:
        augmentation = augment_policy.build(augment_options.POLICIES[policy["name"]](**policy), transform.shape)
    for identity, label, data in chosen:
        row = row_of(transform, identity, label, data)
        if augmentation is not None and not row.note:
            result = row.states[-1][1]
            for copy in range(1, min(copies, COPIES) + 1):
                seed = seeds.derive(config.augment_seed, "copy", identity, copy)
                row.states.append((f"copy {copy}: {policy['name']}", augmentation(result, seed)))
        if training is not None and training.policy.name != "none" and not row.note:
            result = row.states[-1 - min(copies, COPIES)][1][None]
            for epoch in range(EPOCHS):
                drawn = epoch_images(result, [identity], training.policy, training.engine, training.seed, epoch)
                row.states.append((f"epoch {epoch + 1}: {training.policy.name}", drawn[0]))
        yield row


def preview(
    raw: Path,
    config: PreprocessConfig,
    out: Path,
    count: int,
    seed: int = 0,
    training: TrainingAugmentation | None = None,
) -> tuple[int, list[str]]:
    """Writes a contact sheet of some images as PNG.

    Args:
        raw: Folder written by the ingest stage.
        config: The preprocess section.
        out: The file.
        count: Maximum number of images.
        seed: Seed of the sample.
        training: The augmentation to show; None omits it.

    Returns:
        The number of images on the sheet, and a line for each that cannot be read.

    Raises:
        UserError: If there are no images, or none can be read.
    """
    images = RawSet.read(raw)
    found = list(rows_of(sample_images(images, count, seed), config, training))
    rows = [row for row in found if row.states]
    unread = [f"{row.id}: {row.note}" for row in found if not row.states]
    if not rows:
        raise UserError(f"no image can be read; the first is {unread[0]}")
    with files.atomic_file(out) as temporary:
        draw_sheet(rows).save(temporary, "PNG", optimize=False)
    return len(rows), unread
