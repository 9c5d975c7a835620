"""Sightline: labelled images in, a trained, evaluated, explained and deployable classifier out.

>>> import sightline  # doctest: +SKIP
>>> raw = sightline.ingest("photos")  # doctest: +SKIP
>>> data = sightline.preprocess(raw, size=64)  # doctest: +SKIP
>>> model = sightline.train(data, model="resnet18")  # doctest: +SKIP
>>> bundle = sightline.export(sightline.evaluate(model, data)).load()  # doctest: +SKIP
>>> next(bundle.predict("photo.jpg")).label  # doctest: +SKIP
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sightline.api.datasets import ProcessedDataset as ProcessedDataset
    from sightline.api.datasets import RawDataset as RawDataset
    from sightline.api.models import ExportedModel as ExportedModel
    from sightline.api.models import ModelEvaluation as ModelEvaluation
    from sightline.api.models import TrainedModel as TrainedModel
    from sightline.api.steps import evaluate as evaluate
    from sightline.api.steps import export as export
    from sightline.api.steps import ingest as ingest
    from sightline.api.steps import preprocess as preprocess
    from sightline.api.steps import train as train
    from sightline.core.errors import UserError as UserError
    from sightline.predict.bundle import Bundle as Bundle
    from sightline.predict.load import load as load

_HOMES = {
    "sightline.api.datasets": ("ProcessedDataset", "RawDataset"),
    "sightline.api.models": ("ExportedModel", "ModelEvaluation", "TrainedModel"),
    "sightline.api.steps": ("evaluate", "export", "ingest", "preprocess", "train"),
    "sightline.core.errors": ("UserError",),
    "sightline.predict.bundle": ("Bundle",),
    "sightline.predict.load": ("load",),
}
"""The module of each name. It is imported when it is first asked for: `import sightline` costs nothing."""
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Bundle",
    "ExportedModel",
    "ModelEvaluation",
    "ProcessedDataset",
    "RawDataset",
    "TrainedModel",
    "UserError",
    "evaluate",
    "export",
    "ingest",
    "load",
    "preprocess",
    "train",
]

logging.getLogger(__name__).addHandler(logging.NullHandler())  # a library prints nothing unless it is asked to


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    try:
        value = getattr(importlib.import_module(_HOME[name]), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == __name__:
            raise
        from sightline.core.errors import not_installed

        raise not_installed(error.name, "predict" if "predict" in _HOME[name] else "pipeline") from None
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
