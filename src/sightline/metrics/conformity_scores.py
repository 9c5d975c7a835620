"""Conformity scores: how well each class conforms to an image's probabilities; sets hold the classes that do best.

None is randomised: the same image gets the same set every time and through every door. A randomised score would make
sets smaller where many images share a score, and two answers for one image.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from sightline.config.schema import Registry

if TYPE_CHECKING:  # the configuration reads only the names, without NumPy
    import numpy as np
    import numpy.typing as npt

CONFORMITY_SCORES: Registry[ConformityScore] = Registry("evaluate/conformity_score")
"""Scores that `evaluate.conformity_score` can name. A new one is one class here, registered under its name."""

DEFAULT = "lac"
"""The score of bundles that name none."""

PENALTY, UNPENALISED = 0.01, 1
"""RAPS: deducted for each class of a rank beyond so many; constants, since chosen on validation images they would break
the guarantee that rests on these."""


class ConformityScore(ABC):
    """A score by which a class is in an image's set, or not."""

    @abstractmethod
    def scores(self, probabilities: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        """Maps calibrated probabilities [n, K] to scores [n, K]; the likeliest class of an image has its highest."""


@CONFORMITY_SCORES.register("lac")
class Lac(ConformityScore):
    """The class's probability (least ambiguous set-valued classifiers; Sadinle, Lei and Wasserman, 2019)."""

    def scores(self, probabilities: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        """Returns the probabilities."""
        return probabilities.astype("float32")


@CONFORMITY_SCORES.register("aps")
class Aps(ConformityScore):
    """1 less the probability of all likelier classes (adaptive prediction sets; Romano, Sesia and Candès, 2020).

    A threshold t then gives the smallest set of likeliest classes that together have at least 1 - t: their generalised
    quantile function without the random number.
    """

    def scores(self, probabilities: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        """Returns the shares that are left."""
        return (1 - _above(probabilities)[0]).astype("float32")


@CONFORMITY_SCORES.register("raps")
class Raps(ConformityScore):
    """APS with a penalty on large sets (regularised; Angelopoulos, Bates, Malik and Jordan, 2021)."""

    def scores(self, probabilities: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        """Returns the shares that are left, less the penalties."""
        above, rank = _above(probabilities)
        return (1 - above - PENALTY * (rank - UNPENALISED).clip(min=0)).astype("float32")


def _above(probabilities: npt.NDArray[np.floating]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Returns the sum of the probabilities of an image's likelier classes, and the rank from 1, for each [n, K].

    Of equal classes the first is the likelier one, as everywhere.
    """
    import numpy as np

    order = np.argsort(-probabilities, axis=1, kind="stable")
    in_order = np.take_along_axis(probabilities, order, axis=1).astype(np.float64)
    rank = np.argsort(order, axis=1) + 1
    before = np.cumsum(np.pad(in_order, ((0, 0), (1, 0)))[:, :-1], axis=1)
    return np.take_along_axis(before, rank - 1, axis=1), rank
