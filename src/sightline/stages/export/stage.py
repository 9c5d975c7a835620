"""The export stage: turns a trained model into a bundle, a folder with everything that prediction needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sightline.core import files, progress
from sightline.core.errors import UserError
from sightline.core.json_fields import parse_object
from sightline.datasets.processed_set import ProcessedSet
from sightline.datasets.raw_set import SPLITS
from sightline.drift.reference import Reference
from sightline.imaging.transform.pipeline import Transform
from sightline.models import novelty_detector
from sightline.models.embeddings import embed
from sightline.models.inference import Predictor
from sightline.models.model_info import ModelInfo
from sightline.models.saved_model import WEIGHTS
from sightline.predict import manifest
from sightline.predict.inference_model import InferenceModel, open_model
from sightline.stages.export import calibration_file, parity, parity_images
from sightline.stages.export.config import ExportConfig, Int8Config
from sightline.stages.export.formats import FORMATS, NetworkSource
from sightline.stages.export.int8 import calibration_images, to_int8
from sightline.stages.export.latency import Network, latencies
from sightline.stages.export.model_card import CardContent, render_card
from sightline.stages.export.onnx import to_onnx
from sightline.stages.export.result import ExportResult, Int8Result
from sightline.stages.export.uncertainty import Uncertainty, check_novelty

METRICS = "metrics_detail.json"
CALIBRATION = "calibration.json"
PREDICTIONS = "predictions.parquet"
NOVELTY = "novelty.npz"


def export(config: ExportConfig, raw: Path, processed: Path, model: Path, output: Path, reports: Path) -> ExportResult:
    """Writes the bundle, if it passes the parity check against the trained model.

    Args:
        config: The export section.
        raw: Folder written by the ingest stage, with the encoded images for the parity check.
        processed: Folder written by the preprocess stage.
        model: Folder with the trained model.
        output: The bundle; replaced atomically, or left unchanged on an error.
        reports: Folder written by the evaluate stage, with calibration, metrics, predictions and novelty detector.

    Returns:
        The parity check and the measurements.

    Raises:
        UserError: If inputs are missing or do not belong together, or the bundle fails the parity check.
    """
    calibrated = calibration_file.read_calibration(reports / CALIBRATION)
    novel = novelty_detector.load_detector(reports / NOVELTY)
    predictor = Predictor.load(model, calibrated.tta)
    data = ProcessedSet(processed)
    _check_fit(predictor.info, data, model)
    chosen = parity_images.choose_images(data, config.parity_images)
    content = CardContent(
        license=config.license,
        classes=data.classes,
        architecture=predictor.info.architecture,
        transform=Transform.load(data.transform),
        images_per_split={name: len(data.split(name)) for name in SPLITS},
        metrics=_read_metrics(reports / METRICS),
        calibration=calibrated,
        initial=predictor.info.lineage.initial_weights,
        start=predictor.info.lineage.start,
        novelty=novel,
        lineage={
            "data_sha256": data.digest,
            "model_sha256": predictor.info.weights_sha256,
            "predictions_sha256": _digest(reports / PREDICTIONS),
        },
    )
    temperature = content.calibration.temperature
    uncertainty = Uncertainty(novel, data.split("val"), data.shape, data.unknown, calibrated.conformity_score)
    with files.atomic_directory(output) as folder:
        progress.step("ONNX")
        embedded = predictor.classifier if novel else None
        plain = to_onnx(predictor.module, data.shape, config.opset, temperature, embedded)
        _write_parts(folder, uncertainty.network("fp32", plain), content)
        bundle = open_model(folder)  # each network is read back from disk, so that the comparison is with what ships
        progress.step("comparison with the trained network")
        images = parity_images.collect(bundle, raw, data, chosen)
        trained = content.calibration.apply(images.run(predictor, images.stored))

        def check(network: Network, name: str) -> parity.ParityResult:
            compared = parity.compare_probabilities(images.ids, trained, images.run(network))
            parity.gate(compared, config.parity_tolerance, data.classes, name)
            return compared

        checked = check(bundle.probabilities, "the exported model")
        if novel:
            expected = images.run(lambda batch: novel.scores(batch, embed(predictor, batch)), images.stored)
            check_novelty(images.ids, expected, images.run(bundle.novelty))
        uncertainty.observe("fp32", bundle)
        files.write_bytes(folder / manifest.REFERENCE, _reference(images, bundle))
        networks: dict[str, tuple[list[Path], Network]] = {
            "torch": ([model / WEIGHTS], predictor),
            "fp32": ([folder / manifest.MODEL], bundle.probabilities),
        }
        int8 = None
        if config.int8.enabled:
            progress.step("8-bit integers")
            sample = calibration_images(data.split("train"), config.int8.calibration_images)
            files.write_bytes(folder / manifest.INT8_MODEL, uncertainty.network("int8", to_int8(plain, sample)))
            quantised = open_model(folder, "int8")
            integers = images.run(quantised.probabilities)
            int8 = _judge_int8(config.int8, images.labels, images.run(bundle.probabilities), integers)
            if int8.refused is None:
                if novel:
                    # Quantisation changes embeddings, so the int8 network's own ones serve to check its detector.
                    expected = uncertainty.expected("int8", images.prepared)
                    check_novelty(images.ids, expected, images.run(quantised.novelty), "the int8 model")
                uncertainty.observe("int8", quantised)
                networks["int8"] = ([folder / manifest.INT8_MODEL], quantised.probabilities)
            else:
                uncertainty.forget("int8")
                (folder / manifest.INT8_MODEL).unlink()
        uncertainty.write(folder, calibrated.as_json() | ({"abstain": True} if config.abstain else {}))
        source = NetworkSource(folder / manifest.MODEL, predictor.module, data.shape, temperature)
        for name in config.formats:
            progress.step(name)
            form = FORMATS[name]()
            network = form.write(source, folder)
            check(network, form.files[0])
            networks[name] = ([folder / file for file in form.files], network)

        progress.step("latency")
        seconds = latencies({name: network for name, (_, network) in networks.items()}, images.prepared[:32])
        sizes = {name: sum(path.stat().st_size for path in paths) for name, (paths, _) in networks.items()}
        result = ExportResult(checked, images.counts, int8, _default(config.int8, seconds), sizes, seconds)
        files.write_text(folder / manifest.CARD, render_card(content, result, config.parity_tolerance))
        manifest.write_manifest(folder, content.lineage, result.default, _parity_record(config, result, content))
        return result


def _reference(images: parity_images.ParityImages, bundle: InferenceModel) -> bytes:
    """Returns the reference statistics for drift detection, from images that the network was not trained on."""
    probabilities = images.run(bundle.probabilities)
    statistics = np.column_stack([images.statistics, probabilities.max(axis=1)]).astype(np.float32)
    novelty = images.run(bundle.novelty) if bundle.tells_novelty else None
    return Reference(statistics, probabilities.argmax(axis=1), novelty).to_bytes()


def _write_parts(folder: Path, onnx: bytes, content: CardContent) -> None:
    files.write_bytes(folder / manifest.MODEL, onnx)
    content.transform.save(folder / manifest.TRANSFORM)
    files.write_json(folder / manifest.CLASSES, {"classes": content.classes})
    files.write_json(folder / manifest.CALIBRATION, content.calibration.as_json())


def _judge_int8(
    config: Int8Config, labels: npt.NDArray[np.int64], floats: parity.Probabilities, integers: parity.Probabilities
) -> Int8Result:
    """Compares the int8 network with the float network on the same images.

    Args:
        config: The requirements on the int8 network.
        labels: [N] true classes.
        floats: [N, K] probabilities of the float network.
        integers: [N, K] probabilities of the int8 network.

    Raises:
        UserError: If it does not meet the requirements although `int8.default` is "int8".
    """
    agreement = 1 - int((floats.argmax(axis=1) != integers.argmax(axis=1)).sum()) / len(labels)
    loss = parity.accuracy_loss(labels, floats, integers)
    refused = None
    if not np.isfinite(integers).all():
        refused = "it outputs values that are not numbers"
    elif loss > config.max_accuracy_loss:
        refused = f"the loss is above int8.max_accuracy_loss, {config.max_accuracy_loss:g}"
    elif agreement < config.min_agreement:
        refused = f"the agreement is below int8.min_agreement, {100 * config.min_agreement:g} %"
    if refused is not None and config.default == "int8":
        raise UserError(
            f"int8.default asks for int8, which fails its check: agreement {100 * agreement:.2f} %, accuracy "
            f"{0 - loss:+.2f} points: {refused}; no bundle was written"
        )
    return Int8Result(agreement, loss, refused)


def _default(config: Int8Config, seconds: dict[str, dict[int, float]]) -> str:
    """Chooses the form that predicts: int8 if it passed its check and is clearly faster for one image.

    The required speedup keeps noise from changing the choice, which is part of the bundle and should be reproducible:
    networks become either about 1.5 times as fast or hardly any faster.
    """
    if "int8" not in seconds or config.default == "fp32":
        return "fp32"
    faster = seconds["fp32"][1] >= config.min_speedup * seconds["int8"][1]
    return "int8" if faster or config.default == "int8" else "fp32"


def _parity_record(config: ExportConfig, outcome: ExportResult, content: CardContent) -> dict[str, Any]:
    """Returns the parity check for the manifest, without measured times."""
    record: dict[str, Any] = {
        "images": outcome.counts,
        "available": sum(content.images_per_split[name] for name in parity_images.SPLITS),
        "tolerance": config.parity_tolerance,
        "agreement": outcome.parity.agreement,
    }
    if outcome.int8:
        record["int8"] = vars(outcome.int8)
    return record


def _check_fit(info: ModelInfo, data: ProcessedSet, model: Path) -> None:
    if info.classes != data.classes or info.shape != data.shape:
        raise UserError(
            f"{model} was trained for {len(info.classes)} classes on images of shape {info.shape}, {data.root} has "
            f"{len(data.classes)} classes of shape {data.shape}, or their names differ: run the train stage again"
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
