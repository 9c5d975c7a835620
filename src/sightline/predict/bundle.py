"""Inference with an exported bundle, for all kinds of inputs, without torch."""

from __future__ import annotations

import html
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sightline.core.errors import UserError
from sightline.core.rejection import RejectionError
from sightline.imaging.image_file import Limits
from sightline.metrics import conformal
from sightline.metrics.conformity_scores import DEFAULT
from sightline.predict import batching, manifest, python_inputs
from sightline.predict.held_out import HeldOutImages, from_bytes
from sightline.predict.inference_model import Answer, InferenceModel, Probabilities, open_model
from sightline.predict.inputs import Database
from sightline.predict.manifest import BATCH_SIZE
from sightline.predict.prediction import EXTENDED, Prediction, Question
from sightline.predict.python_inputs import ImageInput

LOCAL, RAY = BACKENDS = ("local", "ray")
"""Backends that decode images and run the network: threads of this process, or the nodes of a Ray cluster."""


class Bundle(InferenceModel):
    """A bundle that has been verified and loaded; make one with `Bundle.load`.

    Attributes:
        manifest: The content of `manifest.json`.
        card: The model card, in Markdown.
        reference: Statistics of test and validation images, for `sightline drift`; None in an older bundle.
        held_out: Conformity scores of validation images, for prediction sets; None in an older bundle.
        folder: The folder that it was loaded from.
    """

    def __init__(
        self,
        folder: Path,
        model: InferenceModel,
        manifest: dict[str, Any],
        card: str = "",
        reference: bytes | None = None,
        held_out: HeldOutImages | None = None,
    ) -> None:
        super().__init__(model.classes, model.transform, model.session, model.model, model.calibration)
        self.folder = folder
        self.manifest = manifest
        self.card = card
        self.reference = reference
        self.held_out = held_out

    def __repr__(self) -> str:
        height, width, channels = self.transform.shape
        size = f"{width} x {height} px, {channels} channel{'s' * (channels > 1)}"
        extended = f", {len(self.extended)} of them extended, not trained" if self.extended else ""
        return f"<Bundle: {len(self.classes)} classes{extended}, {size}, {self.model}>"

    def _repr_html_(self) -> str:
        """Shows the classes in a notebook."""
        names = html.escape(", ".join(self.classes[:20])) + (", ..." if len(self.classes) > 20 else "")
        return f"<p>{html.escape(repr(self))}</p><p>{names}</p>"

    @classmethod
    def load(cls, folder: str | os.PathLike[str], model: str = "auto", threads: int = 0) -> Bundle:
        """Opens a bundle, with the arguments of `sightline.load` but without support for MLflow's registry.

        Args:
            folder: The bundle written by the export stage.
            model: The form of the network: "fp32", "int8", or "auto" for the one that export found best.
            threads: Number of threads that the network computes with; 0 for one per core.

        Raises:
            UserError: If it is not a bundle, is damaged, has parts that do not belong together, or lacks that form.
        """
        root = Path(folder)
        content = manifest.verify_files(root)
        form = _form(root, content, model)
        loaded = open_model(root, form, threads, lambda name: manifest.read_verified(root, content, name))
        try:
            card = (
                manifest.read_verified(root, content, manifest.CARD).decode()
                if manifest.CARD in content["files"]
                else ""
            )
        except UnicodeDecodeError as error:
            raise UserError(f"{root}: cannot be used by this version of sightline ({error}); export it again") from None

        def optional(name: str) -> bytes | None:
            return manifest.read_verified(root, content, name) if name in content["files"] else None

        conformal, held_out = optional(manifest.CONFORMAL), None
        if conformal is not None:
            held_out = from_bytes(conformal, form, str(loaded.calibration.get("conformity_score", DEFAULT)))
        return cls(root, loaded, content, card, optional(manifest.REFERENCE), held_out)

    @property
    def threshold(self) -> float | None:
        """The confidence below which the model should abstain; None if no threshold is known.

        At or above it, the accuracy on validation images is at least `calibration["target_accuracy"]`.
        """
        threshold = self.calibration.get("threshold")
        return None if threshold is None else float(threshold)

    @property
    def extended(self) -> dict[str, int]:
        """Classes that were added without training, with the number of images of each; empty if there are none."""
        return dict(self.manifest.get("extension", {}).get("pictures", {}))

    def lacking(self, part: str) -> str:
        """Returns the message that the bundle lacks a part, with the remedy."""
        if self.extended:
            return (
                f"an extended bundle has no {part} until it is trained: add the new classes to the data and run dvc "
                "repro"
            )
        return f"the bundle has no {part}, because an older version exported it: run dvc repro export"

    @property
    def digest(self) -> str:
        """The trained model's digest, 64 hexadecimal digits, which is also a tag of its run in MLflow."""
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
        abstain: bool | None = None,
        coverage: float | None = None,
        backend: str = LOCAL,
        address: str | None = None,
    ) -> Iterator[Prediction]:
        """Predicts images, in order, one prediction per image; memory holds a few batches.

        Args:
            images: One or more of: a path, folder, pattern, archive, URL or `db:TABLE`, as on the command line; an
                encoded image's bytes; pixels, uint8 [h, w], [h, w, 1] or [h, w, 3] (RGB).
            top_k: Maximum number of classes per prediction.
            threshold: The model abstains if the confidence is lower.
            batch_size: Images per run of the network.
            workers: Number of threads that read and decode; None means one per core, 0 none.
            database: The database for `db:TABLE`; None takes it from the environment.
            abstain: Whether to label novel images `NONE_OF_THESE`, and to abstain below the bundle's own threshold if
                no other is given; None uses the bundle's default (`export.abstain`).
            coverage: Also returns prediction sets that contain the true class in this share of cases, above 0, below 1.
            backend: The backend that decodes images and runs the network: "local", or "ray" for a Ray cluster.
            address: The cluster's address: "host:6379", "ray://host:10001" or "auto"; None starts one on this machine.

        Raises:
            UserError: If a package that a kind of input needs is missing, a database or the cluster cannot be used, or
                the bundle lacks what the arguments require.
            ValueError: If there is no such backend, or an address is given for a backend without one.
        """
        if backend not in BACKENDS or (address is not None and backend == LOCAL):
            raise ValueError(f"backend {backend!r} takes no address ({address!r}); only ray does")
        question = self.question(top_k, threshold, abstain, coverage)

        items = python_inputs.python_images(images, Limits().max_bytes, database)
        if backend == LOCAL:
            answered = batching.answered(self, items, batch_size, workers)
        else:
            from sightline.predict import ray_batches

            answered = ray_batches.answered_on_ray(self, items, batch_size, workers, address)
        for item, answer in answered:
            if isinstance(answer, RejectionError):
                yield Prediction(item.name, error=str(answer.reason), detail=answer.detail)
            else:
                yield self.judge(item.name, answer, question)

    def network_files(self) -> dict[str, bytes]:
        """Returns the files that `open_model` needs, by name.

        Raises:
            UserError: If one has changed since the bundle was loaded.
        """
        names = (manifest.CALIBRATION, manifest.TRANSFORM, manifest.CLASSES, manifest.MODELS[self.model])
        return {name: manifest.read_verified(self.folder, self.manifest, name) for name in names}

    @property
    def abstains(self) -> bool:
        """Whether the bundle abstains by default, as configured at export."""
        return bool(self.calibration.get("abstain", False))

    def question(
        self,
        top_k: int = 1,
        threshold: float | None = None,
        abstain: bool | None = None,
        coverage: float | None = None,
    ) -> Question:
        """Returns a question for this bundle; the arguments are those of `predict`.

        Raises:
            UserError: If the bundle cannot answer it.
        """
        abstain = self.abstains if abstain is None else abstain
        if abstain and threshold is None:
            threshold = self.threshold
            if threshold is None and not self.tells_novelty:
                raise UserError(
                    "to abstain: the bundle has neither a threshold nor a novelty detector; give a threshold"
                )
        thresholds = None
        if coverage is not None:
            if not 0 < coverage < 1:
                raise UserError(f"coverage: must be above 0 and below 1, not {coverage:g}")
            if self.held_out is None:
                raise UserError(f"coverage: {self.lacking('scores of validation images')}")
            thresholds = self.held_out.thresholds(coverage, len(self.classes))
        return Question(top_k, threshold, abstain and self.tells_novelty, thresholds)

    def judge(self, name: str, answer: Answer, question: Question) -> Prediction:
        """Returns the prediction for the network's answer to an image."""
        row, novelty = answer
        top = self._top(row, question.top_k)
        none_of_these = question.refuses_novel and novelty is not None and novelty > 1
        unsure = question.threshold is not None and top[0][1] < question.threshold
        class_set, detail = None, EXTENDED if top[0][0] in self.extended and not none_of_these else ""
        if question.set_thresholds is not None and self.held_out is not None:
            chosen = conformal.prediction_sets(self.held_out.score.scores(row[None]), question.set_thresholds)[0]
            class_set = tuple(self.classes[i] for i in np.argsort(-row, kind="stable") if chosen[i])
        return Prediction(
            name,
            top,
            detail=detail,
            abstained=unsure or none_of_these,
            novelty=novelty,
            none_of_these=none_of_these,
            class_set=class_set,
        )

    def _top(self, row: Probabilities, k: int) -> tuple[tuple[str, float], ...]:
        order = np.argsort(-row, kind="stable")[:k]  # stable: the first of equal classes, like argmax
        return tuple((self.classes[i], float(row[i])) for i in order)


def _form(root: Path, content: dict[str, Any], model: str) -> str:
    """Returns the requested form of the network after checking that the bundle has it."""
    chosen = str(content.get("default", "fp32")) if model == "auto" else model
    if manifest.MODELS.get(chosen) not in content["files"]:
        available = ", ".join(form for form, name in manifest.MODELS.items() if name in content["files"])
        raise UserError(f"{root} has no {chosen} model, only {available}")
    return chosen
