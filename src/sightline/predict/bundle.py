"""An exported bundle at work: encoded images in, class probabilities out. Needs no torch."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Before onnxruntime is imported: from 1.31 on it sends usage reports unless told not to.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import numpy as np
import numpy.typing as npt
import onnxruntime

from sightline.contract.contract import Contract
from sightline.errors import UserError
from sightline.images import Limits
from sightline.predict import inputs, manifest
from sightline.reasons import Rejected

BATCH_SIZE = 64
"""Images a run of the network: enough to amortise a run's overhead, and few enough for photographs to fit in memory."""

INPUT = "images"
OUTPUT = "probabilities"

Images = npt.NDArray[np.uint8]
Probabilities = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model says of one input.

    Attributes:
        path: The input, as it was named.
        top: The likeliest classes with their probabilities, best first; empty if the input failed.
        error: Why it failed, a word of `sightline.reasons.Reason`; None if it did not.
        detail: The same for a person; may be empty.
    """

    path: str
    top: tuple[tuple[str, float], ...] = ()
    error: str | None = None
    detail: str = ""

    @property
    def label(self) -> str | None:
        """The likeliest class."""
        return self.top[0][0] if self.top else None

    @property
    def probability(self) -> float | None:
        """Its probability, 0 to 1."""
        return self.top[0][1] if self.top else None


class Bundle:
    """A bundle that has been verified and loaded; make one with `Bundle.load`.

    Attributes:
        classes: Class names in order of index.
        manifest: The content of `manifest.json`.
        model: The form of the network that predicts: "fp32" or "int8".
        calibration: The content of `calibration.json`: how the probabilities were calibrated.
    """

    def __init__(
        self,
        classes: list[str],
        contract: Contract,
        session: Any,
        manifest: dict[str, Any],
        model: str = "fp32",
        calibration: dict[str, Any] | None = None,
    ) -> None:
        self.classes = classes
        self.manifest = manifest
        self.model = model
        self.calibration = calibration or {}
        self._contract = contract
        self._session = session

    @classmethod
    def load(cls, folder: str | os.PathLike[str], threads: int = 0, model: str = "auto") -> Bundle:
        """Opens a bundle.

        Args:
            folder: The bundle, as the export stage wrote it.
            threads: How many threads the network computes with; 0 for one a core.
            model: The form of the network: "fp32", "int8", or "auto" for the one that export found best.

        Raises:
            UserError: If it is no bundle, damaged, its parts do not belong together, or it lacks that form.
        """
        root = Path(folder)
        content = manifest.verify(root)
        chosen, file = _form(root, content, model)
        try:
            calibration = dict(json.loads(manifest.read(root, content, manifest.CALIBRATION)))
            contract = Contract.from_dict(json.loads(manifest.read(root, content, manifest.CONTRACT)))
            classes = list(json.loads(manifest.read(root, content, manifest.CLASSES))["classes"])
            session = _session(manifest.read(root, content, file), threads)
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{root}: cannot be used by this version of sightline ({error}); export it again") from None
        _check_fit(root, session, contract.shape, len(classes))
        return cls(classes, contract, session, content, chosen, calibration)

    @property
    def threshold(self) -> float | None:
        """The largest probability below which the model had better abstain; None where no such point is known.

        At or above it, as many of the validation images were right as `calibration["target_accuracy"]` says.
        """
        threshold = self.calibration.get("threshold")
        return None if threshold is None else float(threshold)

    def prepare(self, data: bytes) -> Images:
        """Decodes an encoded image and preprocesses it: uint8 [height, width, channels], what the network takes.

        Raises:
            Rejected: If the bytes do not become an image.
        """
        return self._contract.decode(data)

    def probabilities(self, images: Images) -> Probabilities:
        """Maps prepared images [N, height, width, channels] to float32 probabilities [N, K]."""
        result: Probabilities = self._session.run([OUTPUT], {INPUT: images})[0]
        return result

    def predict(
        self, paths: Iterable[str | os.PathLike[str]], top_k: int = 1, batch_size: int = BATCH_SIZE
    ) -> Iterator[Prediction]:
        """Predicts image files, in order, one prediction a path; memory holds one batch.

        Args:
            paths: Files; `predict.inputs.expand` turns folders and patterns into them.
            top_k: How many classes a prediction names, at most.
            batch_size: Images a run of the network.
        """
        max_bytes = Limits().max_bytes
        rest = iter(paths)
        while batch := [os.fspath(path) for path in itertools.islice(rest, batch_size)]:
            prepared: list[Images] = []
            failed: dict[int, Rejected] = {}
            for place, path in enumerate(batch):
                try:
                    prepared.append(self.prepare(inputs.read(path, max_bytes)))
                except Rejected as refused:
                    failed[place] = refused
            rows = iter(self.probabilities(np.stack(prepared)) if prepared else ())
            for place, path in enumerate(batch):
                if refusal := failed.get(place):
                    yield Prediction(path, error=str(refusal.reason), detail=refusal.detail)
                else:
                    yield Prediction(path, self._top(next(rows), top_k))

    def _top(self, row: Probabilities, k: int) -> tuple[tuple[str, float], ...]:
        order = np.argsort(-row, kind="stable")[:k]  # stable: of equal classes the first, as argmax has it
        return tuple((self.classes[i], float(row[i])) for i in order)


def _form(root: Path, content: dict[str, Any], model: str) -> tuple[str, str]:
    """Returns the form of the network that is asked for, and its file."""
    chosen = str(content.get("default", "fp32")) if model == "auto" else model
    file = manifest.MODELS.get(chosen)
    if file not in content["files"]:
        held = ", ".join(form for form, name in manifest.MODELS.items() if name in content["files"])
        raise UserError(f"{root} holds no {chosen} model, only {held}")
    return chosen, str(file)


def _session(model: bytes, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # its warnings are about optimisations, not about results
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions share no base class but this
        raise ValueError(f"ONNX Runtime: {' '.join(str(error).split())[:200]}") from None


def _check_fit(root: Path, session: Any, shape: Sequence[int], num_classes: int) -> None:
    """Checks that the network takes what the contract gives, and gives one probability a class."""
    takes = {i.name: (i.type, list(i.shape[1:])) for i in session.get_inputs()}
    gives = {o.name: (o.type, list(o.shape[1:])) for o in session.get_outputs()}
    if takes != {INPUT: ("tensor(uint8)", list(shape))} or gives != {OUTPUT: ("tensor(float)", [num_classes])}:
        raise UserError(
            f"{root}: its parts do not belong together: the network maps {takes} to {gives}, "
            f"the contract gives {list(shape)}, and there are {num_classes} classes; export it again"
        )
