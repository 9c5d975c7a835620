"""Knowledge distillation: a bundle's probabilities as part of the training targets.

NumPy and ONNX Runtime are imported where targets are computed, since `watch` needs the digest on every `dvc repro`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sightline.core import files
from sightline.core.errors import UserError
from sightline.core.progress import track
from sightline.core.project import located
from sightline.models.model_info import preparation
from sightline.predict import manifest

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from sightline.datasets.processed_set import ProcessedSet


def bundle_digest(bundle: str) -> str:
    """Returns the SHA-256 of a bundle's manifest, which holds those of its files.

    Raises:
        UserError: If there is none.
    """
    path = located(bundle) / manifest.MANIFEST
    if not path.is_file():
        raise UserError(f"train.teacher: {bundle} is not a bundle: it has no {manifest.MANIFEST}")
    return files.sha256_file(path)


def soft_targets(bundle: str, share: float, data: ProcessedSet, threads: int) -> npt.NDArray[np.float32]:
    """Returns the training split's targets [n, K]: labels mixed with the teacher's probabilities (Hinton 2015).

    The teacher's float network predicts each preprocessed image without online augmentation. Its probabilities are
    calibrated, so that no further temperature is needed.

    Args:
        bundle: The teacher's folder.
        share: Share of the teacher's probabilities in the target, above 0 to 1.
        data: The processed set.
        threads: Number of CPU threads.

    Raises:
        UserError: If it is not a bundle, has other classes, or preprocesses images differently.
    """
    import numpy as np

    from sightline.predict.inference_model import open_model  # not `Bundle`: training is to hold no reader of inputs

    folder = located(bundle)
    content = manifest.verify_files(folder)
    teacher = open_model(folder, "fp32", threads, lambda name: manifest.read_verified(folder, content, name))
    if teacher.classes != data.classes:
        raise UserError(f"train.teacher: {bundle} has other classes: {_few(teacher.classes)}, not {_few(data.classes)}")
    ours, theirs = preparation(data.transform), preparation(located(bundle) / manifest.TRANSFORM)
    if ours != theirs:
        other = sorted(key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key))
        raise UserError(
            f"train.teacher: {bundle} preprocesses images differently ({', '.join(other)}): use its settings"
        )
    split = data.split("train")
    starts = range(0, len(split), manifest.BATCH_SIZE)
    batches = (
        teacher.probabilities(split.images(slice(start, start + manifest.BATCH_SIZE)))
        for start in track(starts, "teacher", len(split), each=manifest.BATCH_SIZE)
    )
    hard = np.eye(len(data.classes), dtype=np.float32)[split.labels]
    return np.asarray((1 - share) * hard + share * np.concatenate(list(batches)), np.float32)


def _few(classes: list[str]) -> str:
    return ", ".join(classes[:5]) + (", ..." if len(classes) > 5 else "")
