"""The methods by name."""

from __future__ import annotations

from sightline.stages.baseline.base import Method
from sightline.stages.baseline.config import METHODS
from sightline.stages.baseline.dense import Dense
from sightline.stages.baseline.hog_svm import HogSvm
from sightline.stages.baseline.majority import Majority
from sightline.stages.baseline.pixels_logreg import PixelsLogreg
from sightline.stages.baseline.sift_svm import SiftSvm

BY_NAME: dict[str, type[Method]] = dict(zip(METHODS, (Majority, PixelsLogreg, Dense, HogSvm, SiftSvm), strict=True))
