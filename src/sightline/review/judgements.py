"""A model's judgements of images: probabilities and embeddings, cached until the model or the data change."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from sightline.core import files
from sightline.core.errors import UserError
from sightline.core.progress import track
from sightline.core.rejection import RejectionError
from sightline.datasets.processed_set import ProcessedSet
from sightline.datasets.raw_set import SPLITS
from sightline.metrics import calibration
from sightline.review import plain_answers

MODEL, DATA, CALIBRATION = Path("models"), Path("data/processed"), Path("reports/calibration.json")
BUNDLE = MODEL / "bundle"
KEPT = files.STATE / "review"

_BATCH = 256

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Judgements:
    """The judgements of the project's model on images.

    Attributes:
        classes: K class names.
        ids: [n] ids of the images.
        sha256: [n] digests of their encoded bytes.
        splits: [n] "train", "val" or "test"; "" if an image is in none of them.
        labels: [n] int64 class indices; -1 if an image has no label.
        probabilities: [n, K] float32, calibrated like those of the report.
        embeddings: [n, D] float32 of length 1: the inputs of the network's last layer, normalised.
        plain: [m, K] float32 for the images of the set, which come first: class probabilities from plain features and
            the other images' labels; None if unknown.
        novelty: [m] float32 novelty scores of the images of the set from the exported model; None if there is no
            bundle of this model with a novelty detector.
    """

    classes: list[str]
    ids: list[str]
    sha256: list[str]
    splits: list[str]
    labels: npt.NDArray[np.int64]
    probabilities: Floats
    embeddings: Floats
    plain: Floats | None = None
    novelty: Floats | None = None

    def __len__(self) -> int:
        return len(self.ids)


class Judge:
    """The project's trained network and preprocessing, loaded when first needed.

    Args:
        root: The project's folder.

    Raises:
        UserError: If the project has no trained model, or no processed set.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self.data = ProcessedSet(root / DATA)
        if not (root / MODEL / "model.json").is_file():
            raise UserError(f"{root / MODEL / 'model.json'} is missing: there is no trained model yet; run dvc repro")
        try:
            kept = json.loads((root / CALIBRATION).read_text())["temperature"]
        except FileNotFoundError:
            kept = 1.0
        self._temperature = float(kept)
        self._predictor: Any = None
        self._transform: Any = None

    def of_set(self) -> Judgements:
        """Returns the judgements of all images of the set without augmented copies, in order of split and id."""
        data = self.data
        model = files.sha256_file(self._root / MODEL / "model.safetensors")
        key = files.sha256(f"{model} {data.digest} {self._temperature} plain".encode())[:16]
        path = self._root / KEPT / f"{key}.npz"
        bundle = self._bundle(model)
        parts: list[tuple[Floats, ...]] = []
        ids: list[str] = []
        sha256: list[str] = []
        splits: list[str] = []
        labels: list[int] = []
        kept = _read(path, 3 if bundle is None else 4)
        features = None if kept is not None else self._plain_features()
        for name in SPLITS:
            table = data.index.filter(pc.equal(data.index["split"], name))
            split, places = data.split(name), data.originals(name)
            ids += [split.ids[place] for place in places]
            contents = table["sha256"].to_pylist()
            sha256 += [contents[place] for place in places]
            splits += [name] * len(places)
            labels += split.labels[places].tolist()
            if features is not None:  # not cached
                starts = track(range(0, len(places), _BATCH), f"judging {name}", len(places), each=_BATCH)
                for start in starts:
                    images = split.images(places[start : start + _BATCH])
                    novelty = [] if bundle is None else [bundle.novelty(images)]
                    parts.append((*self.judge(images), features(images), *novelty))
        if kept is None:  # `parts` has features in the place of `plain`
            kept = [np.concatenate(each) for each in zip(*parts, strict=True)]
            kept[2] = plain_answers.plain_answers(kept[2], np.array(labels, np.int64), len(data.classes))
            with files.atomic_file(path) as temporary, temporary.open("wb") as stream:
                np.savez(stream, *kept)
            for other in path.parent.glob("*.npz"):
                if other != path:
                    other.unlink(missing_ok=True)
        return Judgements(data.classes, ids, sha256, splits, np.array(labels, np.int64), *kept)

    def _plain_features(self) -> plain_answers.PlainFeatures:
        places = [self.data.originals(name) for name in SPLITS]
        chosen = zip(SPLITS, places, plain_answers.even_sample([len(each) for each in places]), strict=True)
        return plain_answers.PlainFeatures(
            np.concatenate([self.data.split(name).images(of_split[rows]) for name, of_split, rows in chosen])
        )

    def _bundle(self, model: str) -> Any:
        """Returns the bundle of the project's model; None if there is none with a novelty detector."""
        folder = self._root / BUNDLE
        if not folder.is_dir():
            return None
        from sightline.predict.bundle import Bundle

        bundle = Bundle.load(folder, "fp32")
        return bundle if bundle.digest == model and bundle.tells_novelty else None

    def of_pictures(self, pictures: Iterable[tuple[str, bytes]]) -> Judgements:
        """Returns the judgements of (id, encoded image) pairs; images that cannot be read are left out."""
        ids: list[str] = []
        sha256: list[str] = []
        waiting: list[npt.NDArray[np.uint8]] = []
        parts: list[tuple[Floats, Floats]] = []
        for identity, data in pictures:
            try:
                image = self.prepare(data)
            except RejectionError:
                continue
            ids.append(identity)
            sha256.append(files.sha256(data))
            waiting.append(image)
            if len(waiting) == _BATCH:
                parts.append(self.judge(np.stack(waiting)))
                waiting = []
        if waiting:
            parts.append(self.judge(np.stack(waiting)))
        if not parts:
            parts = [(np.zeros((0, len(self.data.classes)), np.float32), np.zeros((0, 1), np.float32))]
        labels = np.full(len(ids), -1, np.int64)
        answers = [np.concatenate(each) for each in zip(*parts, strict=True)]
        return Judgements(self.data.classes, ids, sha256, [""] * len(ids), labels, *answers)

    def prepare(self, data: bytes) -> npt.NDArray[np.uint8]:
        """Decodes and preprocesses an encoded image in the same way as those of the set.

        Raises:
            RejectionError: If the bytes cannot be decoded to a valid image.
        """
        if self._transform is None:
            from sightline.imaging.transform.pipeline import Transform

            self._transform = Transform.load(self.data.transform)
        prepared: npt.NDArray[np.uint8] = self._transform.decode(data)
        return prepared

    def judge(self, images: npt.NDArray[np.uint8]) -> tuple[Floats, Floats]:
        """Returns calibrated probabilities [n, K] and embeddings of length 1 [n, D] of prepared images."""
        from sightline.models.embeddings import embed  # PyTorch takes seconds

        if self._predictor is None:
            from sightline.models.inference import Predictor

            self._predictor = Predictor.load(self._root / MODEL)
            self._predictor.check_classes(self.data.classes)
        probabilities = calibration.apply_temperature(self._predictor(images), self._temperature)
        embeddings = embed(self._predictor, images)
        lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
        return probabilities.astype(np.float32), embeddings / np.maximum(lengths, np.float32(1e-12))


def _read(path: Path, count: int) -> list[Floats] | None:
    try:
        with np.load(path) as kept:
            return [kept[f"arr_{number}"] for number in range(count)]
    except (OSError, ValueError, LookupError, EOFError):  # missing or truncated: it is computed again
        return None
