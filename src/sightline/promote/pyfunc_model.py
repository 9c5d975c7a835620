"""The pyfunc model that MLflow uses to serve a registered bundle: `mlflow models serve`, `mlflow.pyfunc.load_model`.

MLflow stores a copy of this file with the version and runs it ("models from code"), so no pickle is involved. The
version also contains this package's code and requires the dependencies of the extra `predict`; Sightline itself need
not be installed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel

from sightline.core.rejection import RejectionError
from sightline.imaging.encoded import image_bytes
from sightline.predict.bundle import Bundle
from sightline.predict.inference_model import Answer
from sightline.predict.manifest import BATCH_SIZE
from sightline.predict.prediction import Question

COLUMNS = ["label", "probability", "probabilities", "error", "novelty", "class_set"]
NOTHING = dict.fromkeys(COLUMNS)


class BundleModel(PythonModel):
    """A bundle as an MLflow pyfunc model, which maps a table of encoded images to a table of predictions."""

    _skip_type_hint_validation = True  # else MLflow asks for type hints at every start, despite the signature

    def load_context(self, context: Any) -> None:
        """Loads the registered bundle."""
        self._bundle = Bundle.load(context.artifacts["bundle"])

    # No annotations: MLflow would derive a schema from them, but the version has a better one.
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # noqa: ARG002 - MLflow's own
        """Predicts the images of the column `image`: encoded files as bytes, as base64 text, or as data URLs.

        Args:
            context: MLflow's context.
            model_input: The table.
            params: `coverage`, above 0 and below 1, also requests prediction sets that contain the true class with
                this probability. 0, the default in the signature, requests none.

        Returns:
            One row per image, in order: label, probability, probabilities (in the order of `classes.json`), error,
            novelty (above 1, the image is unlike all classes), class_set (null without a coverage). A row of an image
            that cannot be read only has an error. If the bundle was exported to abstain, the label may be "none of
            these" or null.
        """
        question = self._bundle.question(coverage=(params or {}).get("coverage") or None)
        images = list(model_input["image"])
        batches = (images[start : start + BATCH_SIZE] for start in range(0, len(images), BATCH_SIZE))
        rows = [row for batch in batches for row in self._rows(batch, question)]
        return pd.DataFrame(rows, columns=COLUMNS, dtype=object)  # `object` keeps missing values null rather than NaN

    def _rows(self, images: list[Any], question: Question) -> list[dict[str, Any]]:
        prepared, refusals = [], {}
        for place, image in enumerate(images):
            try:
                prepared.append(self._bundle.prepare(image_bytes(image) or b""))
            except RejectionError as refused:
                refusals[place] = str(refused)
        answers = iter(self._bundle.answers(np.stack(prepared)) if prepared else ())
        return [
            {**NOTHING, "error": refusals[place]} if place in refusals else self._answer(next(answers), question)
            for place in range(len(images))
        ]

    def _answer(self, answer: Answer, question: Question) -> dict[str, Any]:
        judged = self._bundle.judge("", answer, question)
        return {
            "label": judged.label,
            "probability": judged.probability,
            "probabilities": [float(share) for share in answer.probabilities],
            "error": None,
            "novelty": judged.novelty,
            "class_set": None if judged.class_set is None else list(judged.class_set),
        }


set_model(BundleModel())
