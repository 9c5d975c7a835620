"""Inference with an exported bundle: inputs of every kind in, predictions out. Needs no torch."""

from __future__ import annotations

import html
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sightline.core.errors import UserError
from sightline.core.rejection import RejectionError
from sightline.imaging.image_file import Limits
from sightline.predict import batching, inputs, manifest, python_inputs
from sightline.predict.inference_model import Images, InferenceModel, Probabilities, open_model
from sightline.predict.inputs import Database
from sightline.predict.manifest import BATCH_SIZE
from sightline.predict.python_inputs import ImageInput


@dataclass(frozen=True, slots=True)
class Prediction:
    """The prediction for one input.

    Attributes:
        path: The input, as it was named.
        top: The likeliest classes with their probabilities, best first; empty if the input failed.
        error: Why it failed, a word of `sightline.core.rejection.RejectionReason`; None if it did not.
        detail: A human-readable explanation of the error; may be empty.
        abstained: Whether the likeliest class is less probable than was asked for, so that there is no answer.
    """

    path: str
    top: tuple[tuple[str, float], ...] = ()
    error: str | None = None
    detail: str = ""
    abstained: bool = False

    @property
    def label(self) -> str | None:
        """The likeliest class; None where the model abstains."""
        return self.top[0][0] if self.top and not self.abstained else None

    @property
    def probability(self) -> float | None:
        """The likeliest class's probability, 0 to 1."""
        return self.top[0][1] if self.top else None


class Bundle(InferenceModel):
    """A bundle that has been verified and loaded; make one with `Bundle.load`.

    Attributes:
        manifest: The content of `manifest.json`.
        card: The model card, in Markdown.
        reference: Statistics of test and validation images, for `sightline drift`; None in an older bundle.
    """

    def __init__(
        self, model: InferenceModel, manifest: dict[str, Any], card: str = "", reference: bytes | None = None
    ) -> None:
        super().__init__(model.classes, model.transform, model.session, model.model, model.calibration)
        self.manifest = manifest
        self.card = card
        self.reference = reference

    def __repr__(self) -> str:
        height, width, channels = self.transform.shape
        size = f"{width} x {height} px, {channels} channel{'s' * (channels > 1)}"
        return f"<Bundle: {len(self.classes)} classes, {size}, {self.model}>"

    def _repr_html_(self) -> str:
        """Shows what it tells apart in a notebook."""
        names = html.escape(", ".join(self.classes[:20])) + (", ..." if len(self.classes) > 20 else "")
        return f"<p>{html.escape(repr(self))}</p><p>{names}</p>"

    @classmethod
    def load(cls, folder: str | os.PathLike[str], model: str = "auto", threads: int = 0) -> Bundle:
        """Opens a bundle; the same arguments as `sightline.load`, but for names of MLflow's registry.

        Args:
            folder: The bundle, as the export stage wrote it.
            model: The form of the network: "fp32", "int8", or "auto" for the one that export found best.
            threads: How many threads the network computes with; 0 for one per core.

        Raises:
            UserError: If it is no bundle, damaged, its parts do not belong together, or it lacks that form.
        """
        root = Path(folder)
        content = manifest.verify(root)
        form = _form(root, content, model)
        loaded = open_model(root, form, threads, lambda name: manifest.read(root, content, name))
        try:
            card = manifest.read(root, content, manifest.CARD).decode() if manifest.CARD in content["files"] else ""
        except UnicodeDecodeError as error:
            raise UserError(f"{root}: cannot be used by this version of sightline ({error}); export it again") from None
        has_reference = manifest.REFERENCE in content["files"]
        return cls(loaded, content, card, manifest.read(root, content, manifest.REFERENCE) if has_reference else None)

    @property
    def threshold(self) -> float | None:
        """The largest probability below which the model had better abstain; None where no such point is known.

        At or above it, as many of the validation images were right as `calibration["target_accuracy"]` says.
        """
        threshold = self.calibration.get("threshold")
        return None if threshold is None else float(threshold)

    @property
    def digest(self) -> str:
        """The trained model's digest, 64 hexadecimal digits: what its run in MLflow is tagged with."""
        parts = self.manifest["files"]
        return str(self.manifest["lineage"].get("model_sha256") or parts[manifest.MODEL]["sha256"])

    def predict(
        self,
        images: ImageInput | Iterable[ImageInput],
        top_k: int = 1,
        threshold: float | None = None,
        batch_size: int = BATCH_SIZE,
        workers: int | None = None,
        database: Database | None = None,
    ) -> Iterator[Prediction]:
        """Predicts images, in order, one prediction per image; memory holds a few batches.

        Args:
            images: One or many of: a path, folder, pattern, archive, URL or `db:TABLE` as the command line takes them;
                an encoded image's bytes; pixels, uint8 [h, w], [h, w, 1] or [h, w, 3] (RGB).
            top_k: How many classes a prediction names, at most.
            threshold: Abstains where the likeliest class is less probable.
            batch_size: Images per run of the network.
            workers: Threads that read and decode; None is one per core, 0 none.
            database: Which one `db:TABLE` means; None takes it from the environment.

        Raises:
            UserError: If a package that a kind of input needs is missing, or a database cannot be used.
        """

        def prepare(item: inputs.Input) -> Images:
            return self.prepare(item.read())

        items = python_inputs.images(images, Limits().max_bytes, database)
        for batch in batching.batches(items, prepare, batch_size, workers):
            arrays = [array for _, array in batch if not isinstance(array, RejectionError)]
            rows = iter(self.probabilities(np.stack(arrays)) if arrays else ())
            for item, array in batch:
                if isinstance(array, RejectionError):
                    yield Prediction(item.name, error=str(array.reason), detail=array.detail)
                else:
                    yield self.judge(item.name, next(rows), top_k, threshold)

    def judge(self, name: str, row: Probabilities, top_k: int = 1, threshold: float | None = None) -> Prediction:
        """Returns the prediction for an image's probabilities [K]."""
        top = self._top(row, top_k)
        return Prediction(name, top, abstained=threshold is not None and top[0][1] < threshold)

    def _top(self, row: Probabilities, k: int) -> tuple[tuple[str, float], ...]:
        order = np.argsort(-row, kind="stable")[:k]  # stable: of equal classes the first, as argmax has it
        return tuple((self.classes[i], float(row[i])) for i in order)


def _form(root: Path, content: dict[str, Any], model: str) -> str:
    """Returns the form of the network that is asked for, which the bundle must hold."""
    chosen = str(content.get("default", "fp32")) if model == "auto" else model
    if manifest.MODELS.get(chosen) not in content["files"]:
        available = ", ".join(form for form, name in manifest.MODELS.items() if name in content["files"])
        raise UserError(f"{root} holds no {chosen} model, only {available}")
    return chosen
