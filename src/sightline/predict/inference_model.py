"""The inference model of a bundle: preprocessing, the network in ONNX Runtime, class names. Needs no torch."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

# Set before onnxruntime is imported, which sends usage reports by default from version 1.31 on.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import numpy as np
import numpy.typing as npt
import onnxruntime

from sightline.core.errors import UserError
from sightline.core.json_fields import field, parse_object
from sightline.imaging import convert
from sightline.imaging.transform.pipeline import Transform
from sightline.predict import manifest
from sightline.predict.manifest import INPUT, NOVELTY, OUTPUT

Images = npt.NDArray[np.uint8]
Probabilities = npt.NDArray[np.float32]


class Answer(NamedTuple):
    """The network's answer for an image.

    Attributes:
        probabilities: [K] float32.
        novelty: Distance of the image from the training images; above 1 it is considered none of the classes. None if
            the network has no novelty output.
    """

    probabilities: Probabilities
    novelty: float | None


class InferenceModel:
    """The computing part of a bundle, which maps encoded images to class probabilities.

    The export stage checks it before there is a manifest; `Bundle` adds the manifest and all kinds of inputs.

    Attributes:
        classes: Class names in order of index.
        transform: The preprocessing.
        model: The form of the network: "fp32" or "int8".
        calibration: The content of `calibration.json`: how the probabilities were calibrated.
        session: ONNX Runtime's session of the network.
    """

    def __init__(
        self, classes: list[str], transform: Transform, session: Any, model: str, calibration: dict[str, Any]
    ) -> None:
        self.classes = classes
        self.transform = transform
        self.model = model
        self.calibration = calibration
        self.session = session

    def prepare(self, data: bytes | Images) -> Images:
        """Decodes and preprocesses an image to the network's input: uint8 [height, width, channels].

        Args:
            data: The encoded file, or decoded pixels, [h, w, 1 or 3] uint8.

        Raises:
            RejectionError: If the bytes are not an acceptable image.
        """
        if isinstance(data, bytes):
            return self.transform.decode(data)
        return self.transform(convert.in_channels(data, self.transform.channels))

    @property
    def tells_novelty(self) -> bool:
        """Whether the network has a novelty output, which older bundles lack."""
        return len(self.session.get_outputs()) > 1

    def probabilities(self, images: Images) -> Probabilities:
        """Maps prepared images [N, height, width, channels] to float32 probabilities [N, K]."""
        result: Probabilities = self.session.run([OUTPUT], {INPUT: images})[0]
        return result

    def novelty(self, images: Images) -> npt.NDArray[np.float32]:
        """Maps prepared images [N, height, width, channels] to float32 novelty [N]; requires `tells_novelty`."""
        result: npt.NDArray[np.float32] = self.session.run([NOVELTY], {INPUT: images})[0]
        return result

    def answers(self, images: Images) -> list[Answer]:
        """Returns the network's answer to each prepared image of [N, height, width, channels]."""
        if not self.tells_novelty:
            return [Answer(row, None) for row in self.probabilities(images)]
        rows, scores = self.session.run([OUTPUT, NOVELTY], {INPUT: images})
        return [Answer(row, float(score)) for row, score in zip(rows, scores, strict=True)]


def open_model(
    folder: Path, form: str = "fp32", threads: int = 0, read: Callable[[str], bytes] | None = None
) -> InferenceModel:
    """Opens the model of a bundle, without using its manifest.

    Args:
        folder: The bundle.
        form: The form of the network, of `manifest.MODELS`.
        threads: Number of threads that the network computes with; 0 for one per core.
        read: Returns the content of a file of the bundle by its name; None takes the folder's files as they are.

    Raises:
        UserError: If its parts cannot be used, or do not belong together.
    """
    content = read or (lambda name: (folder / name).read_bytes())
    try:  # ValueError alone: anything else that is raised here is a fault of the program, not of the bundle
        calibration = parse_object(content(manifest.CALIBRATION))
        transform = Transform.from_dict(parse_object(content(manifest.TRANSFORM)))
        classes = [str(name) for name in field(parse_object(content(manifest.CLASSES)), "classes", list)]
        session = open_session(content(manifest.MODELS[form]), threads)
    except ValueError as error:
        raise UserError(f"{folder}: cannot be used by this version of sightline ({error}); export it again") from None
    _check_fit(folder, session, transform.shape, len(classes))
    return InferenceModel(classes, transform, session, form, calibration)


def open_session(model: bytes, threads: int) -> onnxruntime.InferenceSession:
    """Opens a network in ONNX Runtime.

    Raises:
        ValueError: If it is not a valid network.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # its warnings are about optimisations, not about results
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        # Its exceptions have no common base class except Exception; their module identifies them.
        if not type(error).__module__.startswith("onnxruntime"):
            raise
        raise ValueError(f"ONNX Runtime: {' '.join(str(error).split())[:200]}") from None


def _check_fit(root: Path, session: Any, shape: Sequence[int], num_classes: int) -> None:
    """Checks that the network's input fits the transform, and its outputs are one probability per class and novelty."""
    takes = {i.name: (i.type, list(i.shape[1:])) for i in session.get_inputs()}
    gives = {o.name: (o.type, list(o.shape[1:])) for o in session.get_outputs()}
    wanted = {OUTPUT: ("tensor(float)", [num_classes])}
    fits = gives in (wanted, {**wanted, NOVELTY: ("tensor(float)", [])})
    if takes != {INPUT: ("tensor(uint8)", list(shape))} or not fits:
        raise UserError(
            f"{root}: its parts do not match: the network maps {takes} to {gives}, the transform gives "
            f"{list(shape)}, and there are {num_classes} classes; export it again"
        )
