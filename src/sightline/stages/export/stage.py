"""The export stage: a trained model becomes a bundle, one folder that is all that prediction needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sightline.core import files
from sightline.core.errors import UserError
from sightline.core.json_fields import parse_object
from sightline.datasets.processed_set import ProcessedSet
from sightline.datasets.raw_set import SPLITS
from sightline.imaging.transform.pipeline import Transform
from sightline.models.inference import Predictor
from sightline.models.model_info import ModelInfo
from sightline.models.saved_model import WEIGHTS
from sightline.predict import manifest
from sightline.predict.bundle import Bundle
from sightline.stages.export import calibration_file, formats, parity, parity_images
from sightline.stages.export.config import ExportConfig, Int8Config
from sightline.stages.export.int8 import calibration_images, to_int8
from sightline.stages.export.latency import Network, latencies
from sightline.stages.export.model_card import CardContent, render
from sightline.stages.export.onnx import to_onnx
from sightline.stages.export.parity_images import ParityImages
from sightline.stages.export.result import ExportResult, Int8Result

METRICS = "metrics.json"
CALIBRATION = "calibration.json"
PREDICTIONS = "predictions.parquet"


def export(config: ExportConfig, raw: Path, processed: Path, model: Path, output: Path, reports: Path) -> ExportResult:
    """Writes the bundle, if it passes the parity check against the trained model.

    Args:
        config: The export section.
        raw: Folder written by the ingest stage: the encoded images that the samples starts from.
        processed: Folder written by the preprocess stage.
        model: Folder with the trained model.
        output: The bundle; replaced as a whole, or left as it was.
        reports: Folder written by the evaluate stage: the temperature, the metrics and predictions of the test split.

    Returns:
        The parity check and the measurements.

    Raises:
        UserError: If inputs do not belong together, or the bundle fails the parity check.
    """
    predictor = Predictor.load(model)
    data = ProcessedSet(processed)
    _check_fit(predictor.info, data, model)
    chosen = parity_images.choose(data, config.parity_images)
    calibrated = calibration_file.read(reports / CALIBRATION)
    facts = CardContent(
        license=config.license,
        classes=data.classes,
        architecture=predictor.info.architecture,
        transform=Transform.load(data.transform),
        images_per_split={name: len(data.split(name)) for name in SPLITS},
        metrics=_read_metrics(reports / METRICS),
        calibration=calibrated,
        initial=predictor.info.lineage.initial_weights,
        lineage={
            "data_sha256": data.digest,
            "model_sha256": predictor.info.weights_sha256,
            "predictions_sha256": _digest(reports / PREDICTIONS),
        },
    )
    with files.atomic_directory(output) as fresh:
        return _fill(fresh, config, raw, data, predictor, facts, chosen, model / WEIGHTS)


def _fill(
    fresh: Path,
    config: ExportConfig,
    raw: Path,
    data: ProcessedSet,
    predictor: Predictor,
    facts: CardContent,
    chosen: dict[str, parity_images.ParitySample],
    weights: Path,
) -> ExportResult:
    """Writes the files of the bundle; each network is read back from disk before it is compared: what ships."""
    temperature = facts.calibration.temperature
    exported = to_onnx(predictor.classifier, data.shape, config.opset, temperature)
    files.write_bytes(fresh / manifest.MODEL, exported)
    facts.transform.save(fresh / manifest.TRANSFORM)
    files.write_json(fresh / manifest.CLASSES, {"classes": data.classes})
    files.write_json(fresh / manifest.CALIBRATION, vars(facts.calibration))
    manifest.write(fresh, facts.lineage)
    bundle = Bundle.load(fresh, model="fp32")
    samples = parity_images.collect(bundle, raw, data, chosen)
    trained = facts.calibration.apply(samples.run(predictor, samples.stored))
    floats = samples.run(bundle.probabilities, samples.prepared)
    outcome = parity.compare(samples.ids, trained, floats)
    parity.gate(outcome, config.parity_tolerance, data.classes)

    networks: dict[str, tuple[Path, Network]] = {
        "torch": (weights, predictor),
        "fp32": (fresh / manifest.MODEL, bundle.probabilities),
    }
    integers = None
    if config.int8.enabled:
        sample = calibration_images(data.split("train"), config.int8.calibration_images)
        integers, network = _int8(fresh, config.int8, exported, sample, facts, samples, floats)
        if network:
            networks["int8"] = (fresh / manifest.INT8_MODEL, network)
    for form in config.formats:
        further = formats.write(form, fresh, fresh / manifest.MODEL, predictor.classifier, data.shape, temperature)
        compared = parity.compare(samples.ids, trained, samples.run(further.network, samples.prepared))
        parity.gate(compared, config.parity_tolerance, data.classes, further.file)
        networks[form] = (fresh / further.file, further.network)

    seconds = latencies({name: network for name, (_, network) in networks.items()}, samples.prepared[:32])
    default = _default(config.int8, seconds)
    sizes = {name: _size(path) for name, (path, _) in networks.items()}
    result = ExportResult(outcome, samples.counts, integers, default, sizes, seconds)
    files.write_text(fresh / manifest.CARD, render(facts, result, config.parity_tolerance))
    manifest.write(fresh, facts.lineage, default, _parity_record(config, result, facts))
    return result


def _int8(
    fresh: Path,
    config: Int8Config,
    model: bytes,
    sample: Any,
    facts: CardContent,
    samples: ParityImages,
    floats: parity.Probabilities,
) -> tuple[Int8Result, Network | None]:
    """Writes the network in integers if it is nearly as good as the one in floats."""
    path = fresh / manifest.INT8_MODEL
    files.write_bytes(path, to_int8(model, sample))
    manifest.write(fresh, facts.lineage)
    network = Bundle.load(fresh, model="int8").probabilities
    integers = samples.run(network, samples.prepared)
    agreement = parity.compare(samples.ids, floats, integers).agreement
    loss = parity.accuracy_loss(samples.labels, floats, integers)
    refused = None
    if not np.isfinite(integers).all():
        refused = "it gives values that are no numbers"
    elif loss > config.max_accuracy_loss:
        refused = f"the loss is above int8.max_accuracy_loss, {config.max_accuracy_loss:g}"
    elif agreement < config.min_agreement:
        refused = f"the agreement is below int8.min_agreement, {100 * config.min_agreement:g} %"
    if refused is None:
        return Int8Result(agreement, loss, None), network
    path.unlink()
    if config.default == "int8":
        raise UserError(
            f"int8.default asks for int8, which fails its gate: agreement {100 * agreement:.2f} %, accuracy loss "
            f"{loss:.2f} points: {refused}; no bundle was written"
        )
    return Int8Result(agreement, loss, refused), None


def _default(config: Int8Config, seconds: dict[str, dict[int, float]]) -> str:
    """Chooses the form that predicts: int8 where it passed its gate and is clearly faster for one image.

    Clearly, since the choice is part of the bundle, which is to be the same from the same weights: networks gain half
    as much again, or nothing, so noise does not turn it.
    """
    if "int8" not in seconds or config.default == "fp32":
        return "fp32"
    faster = seconds["fp32"][1] >= config.min_speedup * seconds["int8"][1]
    return "int8" if faster or config.default == "int8" else "fp32"


def _parity_record(config: ExportConfig, outcome: ExportResult, facts: CardContent) -> dict[str, Any]:
    """Returns the parity check as the manifest records it; no measured time."""
    record: dict[str, Any] = {
        "images": outcome.counts,
        "available": sum(facts.images_per_split[name] for name in parity_images.SPLITS),
        "tolerance": config.parity_tolerance,
        "agreement": outcome.parity.agreement,
    }
    if outcome.int8:
        record["int8"] = vars(outcome.int8)
    return record


def _size(path: Path) -> int:
    """Returns the bytes of a network's file; OpenVINO's has its weights in another beside it."""
    beside = path.with_suffix(".bin")
    return path.stat().st_size + (beside.stat().st_size if path.suffix == ".xml" else 0)


def _check_fit(info: ModelInfo, data: ProcessedSet, model: Path) -> None:
    if info.classes != data.classes or info.shape != data.shape:
        raise UserError(
            f"{model} was trained for {len(info.classes)} classes on images of shape {info.shape}, "
            f"{data.root} has {len(data.classes)} and {data.shape}, or other names: run the train stage again"
        )


def _read_metrics(path: Path) -> dict[str, Any]:
    try:
        return parse_object(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run the evaluate stage") from None
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}): run the evaluate stage again") from None


def _digest(path: Path) -> str:
    try:
        return files.sha256_file(path)
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run the evaluate stage") from None
