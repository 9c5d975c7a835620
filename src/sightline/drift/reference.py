"""Reference of a bundle: statistics of test and validation images, which its model was not fitted to."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sightline.core.errors import UserError
from sightline.drift.image_statistics import NAMES
from sightline.predict.manifest import REFERENCE


@dataclass(frozen=True)
class Reference:
    """Statistics of images, and the classes that a model predicted for them; stored as a NumPy archive.

    Attributes:
        statistics: [n, 7] float32, in the order of `image_statistics.NAMES`.
        classes: [n] int64, indices of the predicted classes.
        novelty: [n] float32, above 1 for images unlike all classes; None if the model does not detect novelty.
    """

    statistics: npt.NDArray[np.float32]
    classes: npt.NDArray[np.int64]
    novelty: npt.NDArray[np.float32] | None = None

    def to_bytes(self) -> bytes:
        """Returns the file's content; equal statistics give equal bytes."""
        stream = io.BytesIO()
        arrays = {"statistics": self.statistics, "classes": self.classes.astype(np.int32)}
        if self.novelty is not None:
            arrays["novelty"] = self.novelty
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
        return stream.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Reference:
        """Parses the file's content.

        Raises:
            UserError: If it is not a reference, or is from another version.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                statistics, classes = arrays["statistics"], arrays["classes"]
                novelty = arrays["novelty"] if "novelty" in arrays.files else None
        except (ValueError, KeyError, OSError, EOFError) as error:
            raise UserError(
                f"{REFERENCE} cannot be used by this version of sightline ({error}); export it again"
            ) from None
        fits = statistics.shape == (len(classes), len(NAMES)) and statistics.dtype == np.float32
        if not fits or (novelty is not None and novelty.shape != classes.shape):
            raise UserError(f"{REFERENCE} holds other statistics than this version of sightline uses; export it again")
        return cls(statistics, classes.astype(np.int64), novelty)
