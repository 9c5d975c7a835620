"""The pyfunc model with which MLflow serves a registered bundle: `mlflow models serve`, `mlflow.pyfunc.load_model`.

MLflow keeps a copy of this file with the version and runs it (its "models from code"): no pickle. The version carries
this package's code as well, and asks for what the extra `predict` needs: Sightline itself need not be installed.
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
    """A bundle as MLflow's universal model: a table of encoded images in, a table of answers out."""

    _skip_type_hint_validation = True  # the version has a signature; else MLflow asks for annotations at every start

    def load_context(self, context: Any) -> None:
        """Opens the bundle that was registered."""
        self._bundle = Bundle.load(context.artifacts["bundle"])

    # Without annotations: MLflow would take them for a schema, of which the version has a better one.
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # noqa: ARG002 - MLflow's own
        """Predicts the images of the column `image`: encoded files as bytes, as base64 text, or as data URLs.

        Args:
            context: MLflow's.
            model_input: The table.
            params: `coverage`, above 0 and below 1: also answers with sets of classes that hold the truth in this share
                of cases. 0, MLflow's default of it, asks for none.

        Returns:
            One row per image, in order: label, probability, probabilities (in the order of `classes.json`), error,
            novelty (above 1 the image is like none of the classes), class_set (null without a coverage). An image that
            cannot be read has an error, and no more. A bundle that was exported to abstain does so here: the label is
            "none of these", or null.
        """
        question = self._bundle.question(coverage=(params or {}).get("coverage") or None)
        images = list(model_input["image"])
        batches = (images[start : start + BATCH_SIZE] for start in range(0, len(images), BATCH_SIZE))
        rows = [row for batch in batches for row in self._rows(batch, question)]
        return pd.DataFrame(rows, columns=COLUMNS, dtype=object)  # else what is missing would become NaN, not null

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
