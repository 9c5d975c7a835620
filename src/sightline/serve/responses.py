"""Response bodies: predictions, explanations, and the model's description."""

from __future__ import annotations

import base64

import numpy as np

from sightline.core.rejection import RejectionError
from sightline.imaging.image_file import FORMATS
from sightline.predict.bundle import Bundle
from sightline.predict.inference_model import Images
from sightline.predict.prediction import Prediction, Question
from sightline.predict.prediction_row import as_row
from sightline.serve import occlusion
from sightline.serve.api import Explanation, Model, Picture
from sightline.serve.batcher import Answer
from sightline.serve.config import ServeConfig


def judge(bundle: Bundle, name: str, answer: Answer, question: Question) -> Prediction:
    """Returns the prediction for an image, or its error."""
    if isinstance(answer, RejectionError):
        return Prediction(name, error=str(answer.reason), detail=answer.detail)
    return bundle.judge(name, answer, question)


def explanation(bundle: Bundle, name: str, data: bytes, question: Question) -> Explanation:
    """Predicts one image and explains it: the preprocessing steps and an occlusion map.

    Raises:
        RejectionError: If the bytes cannot be decoded to a valid image.
    """
    decoded = bundle.transform.open(data)
    steps = bundle.transform.trace(decoded)
    prepared = bundle.prepare(decoded)
    answer = bundle.answers(prepared[None])[0]
    row = answer.probabilities
    target = int(np.argmax(row))
    heat = occlusion.explain(bundle, prepared, target, float(row[target]))
    return {
        "prediction": as_row(bundle.judge(name, answer, question)),
        "steps": [{"name": step, **_picture(image)} for step, image in steps],
        "input": _picture(prepared),
        "heat": {
            "png": _base64(occlusion.heat_png(heat)),
            "falls": [[round(float(fall), 6) for fall in line] for line in heat.falls],
            "label": bundle.classes[target],
            "probability": float(row[target]),
            "lowest": heat.lowest,
            "where": occlusion.place_name(*heat.worst),
        },
    }


def about(bundle: Bundle, config: ServeConfig, version: str) -> Model:
    """Returns the model's description and the server's limits."""
    return {
        "classes": bundle.classes,
        "model": bundle.digest,
        "form": bundle.model,
        "lineage": bundle.manifest["lineage"],
        "calibration": bundle.calibration,
        "threshold": bundle.threshold,
        "tells_novelty": bundle.tells_novelty,
        "abstains": bundle.abstains,
        "extended": list(bundle.extended),
        "input": list(bundle.transform.shape),
        "card": bundle.card,
        "version": version,
        "limits": {
            "max_bytes": config.limits.max_bytes,
            "max_pixels": config.limits.max_pixels,
            "max_images": config.max_images,
            "max_body": config.max_body,
            "seconds": config.seconds,
            "formats": list(FORMATS),
        },
    }


def _picture(image: Images) -> Picture:
    height, width = image.shape[:2]
    return {"png": _base64(occlusion.picture_png(image)), "height": int(height), "width": int(width)}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
