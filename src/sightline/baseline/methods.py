"""The methods by name."""

from __future__ import annotations

from sightline.baseline.config import METHODS
from sightline.baseline.dense import Dense
from sightline.baseline.hog_svm import HogSvm
from sightline.baseline.majority import Majority
from sightline.baseline.method import Method
from sightline.baseline.pixels_logreg import PixelsLogreg
from sightline.baseline.sift_svm import SiftSvm

BY_NAME: dict[str, type[Method]] = dict(zip(METHODS, (Majority, PixelsLogreg, Dense, HogSvm, SiftSvm), strict=True))
