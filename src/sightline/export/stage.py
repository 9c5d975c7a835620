"""A trained model into a bundle: one folder that is all that prediction needs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sightline import files
from sightline.contract.contract import Contract
from sightline.errors import UserError
from sightline.export import parity
from sightline.export.card import Facts, render
from sightline.export.config import ExportConfig
from sightline.export.onnx import to_onnx
from sightline.models.inference import Predictor
from sightline.predict import manifest
from sightline.predict.bundle import BATCH_SIZE, Bundle
from sightline.reasons import Rejected
from sightline.records import SPLITS, RawImage, raw_shards
from sightline.shards import ProcessedSet, Split


def export(
    config: ExportConfig, raw: Path, processed: Path, model: Path, output: Path, metrics: Path | None = None
) -> parity.Parity:
    """Writes the bundle, if it proves equal to the trained model.

    Args:
        config: The export section.
        raw: Folder written by the ingest stage: the encoded images that the proof starts from.
        processed: Folder written by the preprocess stage.
        model: Folder with the trained model.
        output: The bundle; replaced as a whole, or left as it was.
        metrics: The evaluate stage's metrics of the test split, for the card.

    Returns:
        How far the bundle and the model are apart.

    Raises:
        UserError: If inputs do not belong together, or the bundle fails the parity gate.
    """
    predictor = Predictor.load(model)
    data = ProcessedSet(processed)
    _check_fit(predictor.info, data, model)
    split = _proving_split(data)
    images = min(len(split), config.parity_images)
    lineage = {
        "data_sha256": data.digest,
        "model_sha256": predictor.info["weights_sha256"],
    }
    contract = Contract.load(data.contract)
    card = Facts(
        license=config.license,
        classes=data.classes,
        architecture=predictor.info["architecture"],
        contract=contract,
        images_per_split={name: len(data.split(name)) for name in SPLITS},
        metrics=_read_metrics(metrics) if metrics else {},
        parity_images=images,
        parity_tolerance=config.parity_tolerance,
        lineage=lineage,
    )
    with files.atomic_directory(output) as fresh:
        files.write_bytes(fresh / manifest.MODEL, to_onnx(predictor.classifier, data.shape, config.opset))
        contract.save(fresh / manifest.CONTRACT)
        files.write_json(fresh / manifest.CLASSES, {"classes": data.classes})
        files.write_text(fresh / manifest.CARD, render(card))
        manifest.write(fresh, lineage)
        # Read back from disk, as whoever uses it will: what is compared is what ships.
        outcome = _compare(predictor, Bundle.load(fresh), raw, split, images)
        parity.gate(outcome, config.parity_tolerance, data.classes)
    return outcome


def _check_fit(info: dict[str, Any], data: ProcessedSet, model: Path) -> None:
    size = info["input"]
    shape = (size["height"], size["width"], size["channels"])
    if info["classes"] != data.classes or shape != data.shape:
        raise UserError(
            f"{model} was trained for {len(info['classes'])} classes on images of shape {shape}, "
            f"{data.root} has {len(data.classes)} and {data.shape}, or other names: run the train stage again"
        )


def _read_metrics(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_bytes()))
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run the evaluate stage") from None
    except ValueError:
        raise UserError(f"{path} is damaged: run the evaluate stage again") from None


def _proving_split(data: ProcessedSet) -> Split:
    """Returns the images that the bundle has to prove itself on: the test split's, as no training image is."""
    for name in ("test", "val"):
        if len(split := data.split(name)):
            return split
    raise UserError(f"{data.root} has no test images to prove the bundle on: raise preprocess.test_fraction")


def _compare(predictor: Predictor, bundle: Bundle, raw: Path, split: Split, images: int) -> parity.Parity:
    """Compares what evaluation saw with what prediction will see.

    The trained model gets the prepared pixels that the preprocess stage stored, the bundle the encoded files as they
    were ingested: so its decoding and its contract are proven with its network.
    """
    ids: list[str] = []
    trained: list[parity.Probabilities] = []
    exported: list[parity.Probabilities] = []
    # Evenly spaced, since ids often sort by class.
    positions = {split.ids[i]: i for i in np.linspace(0, len(split) - 1, images).round().astype(int).tolist()}
    for batch in _batches(raw, positions):
        stored = split.images([positions[image.id] for image in batch])
        trained.append(predictor(stored))
        exported.append(bundle.probabilities(np.stack([_prepare(bundle, image) for image in batch])))
        ids += [image.id for image in batch]
    if len(ids) != len(positions):
        raise UserError(
            f"{raw} lacks {len(positions) - len(ids)} of the prepared images: run the preprocess stage again"
        )
    return parity.compare(ids, np.concatenate(trained), np.concatenate(exported))


def _batches(raw: Path, wanted: dict[str, int]) -> Iterator[list[RawImage]]:
    """Yields the wanted raw images, a batch at a time: a thousand photographs need not fit in memory."""
    batch: list[RawImage] = []
    for shard in raw_shards(raw):
        for image in shard.images():
            if image.id in wanted:
                batch.append(image)
            if len(batch) == BATCH_SIZE:
                yield batch
                batch = []
    if batch:
        yield batch


def _prepare(bundle: Bundle, image: RawImage) -> Any:
    try:
        return bundle.prepare(image.data)
    except Rejected as error:
        raise UserError(f"the bundle refuses {image.id}, which was ingested: {error}; no bundle was written") from None
