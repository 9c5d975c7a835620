"""The options of the preprocessing steps: what can be chosen, in which ranges, and what each is good for.

Imports nothing heavy: a configuration is checked against these classes before any work starts. The values stand in
`conf/preprocess/<step>/<option>.yaml`, the work in `sightline.imaging.transform.<step>`.

Lengths are in pixels of the image as it comes, levels in 0..255, fractions in 0..1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from sightline.config.schema import Option
from sightline.imaging.transform.options.clean import Clean
from sightline.imaging.transform.options.denoise import (
    AutoDenoise,
    Bilateral,
    Gaussian,
    Median,
    NonLocalMeans,
    TotalVariation,
    Wavelet,
)
from sightline.imaging.transform.options.enhance import AutoContrast, Clahe, Equalize, Gamma, Unsharp, WhiteBalance
from sightline.imaging.transform.options.resize import Crop, Pad, Stretch
from sightline.imaging.transform.options.segment import Adaptive, GrabCut, KMeans, Segment, Threshold, Watershed

__all__ = [
    "CLEAN",
    "DENOISE",
    "ENHANCE",
    "OLD_NAMES",
    "RESIZE",
    "SEGMENT",
    "STEPS",
    "Adaptive",
    "AutoContrast",
    "AutoDenoise",
    "Bilateral",
    "Clahe",
    "Clean",
    "Crop",
    "Equalize",
    "Gamma",
    "Gaussian",
    "GrabCut",
    "KMeans",
    "Median",
    "NonLocalMeans",
    "Nothing",
    "Pad",
    "Segment",
    "Stretch",
    "Threshold",
    "TotalVariation",
    "Unsharp",
    "Watershed",
    "Wavelet",
    "WhiteBalance",
    "current_names",
    "read",
]


@dataclass
class Nothing(Option):
    """Leaves the image as it is."""


CLEAN: dict[str, type[Option]] = {
    "none": Nothing,
    # Presets of the same steps: each names what it is chosen for, and any of its values can be set.
    "standard": Clean,
    "trim": Clean,
    "grey": Clean,
    "hsv": Clean,
    "lab": Clean,
}
DENOISE: dict[str, type[Option]] = {
    "none": Nothing,
    "median": Median,
    "gaussian": Gaussian,
    "bilateral": Bilateral,
    "nonlocal_means": NonLocalMeans,
    "total_variation": TotalVariation,
    "wavelet": Wavelet,
    "auto": AutoDenoise,
}
ENHANCE: dict[str, type[Option]] = {
    "none": Nothing,
    "autocontrast": AutoContrast,
    "equalize": Equalize,
    "clahe": Clahe,
    "gamma": Gamma,
    "unsharp": Unsharp,
    "white_balance": WhiteBalance,
}
SEGMENT: dict[str, type[Option]] = {
    "none": Nothing,
    "threshold": Threshold,
    "adaptive": Adaptive,
    "kmeans": KMeans,
    "grabcut": GrabCut,
    "watershed": Watershed,
}
RESIZE: dict[str, type[Option]] = {"stretch": Stretch, "pad": Pad, "crop": Crop}

STEPS: dict[str, dict[str, type[Option]]] = {
    "clean": CLEAN,
    "denoise": DENOISE,
    "enhance": ENHANCE,
    "segment": SEGMENT,
    "resize": RESIZE,
}
"""The steps in the order in which they run."""


OLD_NAMES = {("resize", "squash"): "stretch"}
"""Names of options in sets and bundles written before a renaming, which are still read: (step, old name) -> name."""


def current_names(steps: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Returns the steps of a transform's JSON, each option under the name that it has now."""
    return {
        step: {**option, "name": OLD_NAMES.get((step, str(option.get("name"))), option.get("name"))}
        for step, option in steps.items()
    }


def read(step: str, content: Mapping[str, Any]) -> Option:
    """Builds an option of `step` from plain data, strictly: a transform's JSON may come from anywhere.

    Raises:
        ValueError: For an unknown option, a missing or unknown key, a value of the wrong type or outside its range;
            the message begins with the key.
    """
    values = dict(content)
    schema = STEPS[step].get(str(values.get("name")))
    if schema is None:
        raise ValueError(f"{step}: no option {values.get('name')!r}; allowed: {', '.join(STEPS[step])}")
    types = get_type_hints(schema)
    if set(types) != set(values):
        raise ValueError(f"{step}: {values['name']!r} has the keys {', '.join(types)}, not {', '.join(values)}")
    for key, kind in types.items():
        if kind is float and type(values[key]) is int:
            values[key] = float(values[key])
        if type(values[key]) is not kind:
            raise ValueError(f"{step}.{key}: {values[key]!r} is not of type {kind.__name__}")
    try:
        return schema(**values)
    except ValueError as error:
        raise ValueError(f"{step}.{error}") from None
