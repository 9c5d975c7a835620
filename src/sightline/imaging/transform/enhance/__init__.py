"""Enhancement: the options of the transform's third step, one module per kind."""

from __future__ import annotations

from sightline.config.schema import Registry
from sightline.imaging.transform.step import Nothing, Step

ENHANCE: Registry[Step] = Registry("preprocess/enhance", modules="sightline.imaging.transform.enhance.*")
ENHANCE.register("none")(Nothing)
