"""Models as objects: trained, evaluated, exported."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sightline.api import html
from sightline.api.datasets import ProcessedDataset
from sightline.core.errors import UserError
from sightline.datasets.processed_set import Images
from sightline.metrics.base import Floats

if TYPE_CHECKING:
    import pandas as pd

    from sightline.models.inference import Predictor
    from sightline.models.model_info import ModelInfo
    from sightline.predict.bundle import Bundle

HISTORY = "history.csv"


@dataclass(frozen=True)
class TrainedModel:
    """A trained network: the result of `sightline.train`.

    Attributes:
        path: Its folder. The train stage's output can be opened with `TrainedModel("models")`.
    """

    path: Path

    def __post_init__(self) -> None:
        path = Path(self.path).expanduser()
        object.__setattr__(self, "path", path)
        if not (path / "model.json").is_file():
            raise UserError(
                f"{path} contains no model.json; name a folder that sightline.train or its stage has written"
            )

    @functools.cached_property
    def predictor(self) -> Predictor:
        """The network as a function; loaded once, using as many threads as it was trained with."""
        from sightline.models.inference import Predictor

        return Predictor.load(self.path)

    @functools.cached_property
    def info(self) -> ModelInfo:
        """The content of `model.json`: architecture, training settings, best epoch, lineage."""
        from sightline.models.model_info import ModelInfo

        return ModelInfo.read(self.path / "model.json")

    @property
    def classes(self) -> list[str]:
        """The names of the classes, in order of index."""
        return list(self.info.classes)

    @property
    def history(self) -> pd.DataFrame:
        """One row per epoch: losses, validation accuracy, learning rate."""
        import pandas as pd

        return pd.read_csv(self.path / HISTORY)

    def probabilities(self, images: Images) -> Floats:
        """Maps preprocessed images [n, height, width, channels] uint8 to uncalibrated probabilities [n, K]."""
        return self.predictor(images)

    def explain(self, images: Images, classes: npt.NDArray[np.int64] | None = None) -> Explanation:
        """Explains which parts of preprocessed images the network uses as evidence for a class.

        Args:
            images: [n, height, width, channels] uint8.
            classes: [n] the class to explain for each image; None for the predicted ones.
        """
        from sightline.stages.evaluate.explain import explainer

        wanted = self.probabilities(images).argmax(axis=1) if classes is None else classes
        height, width, channels = images.shape[1:]
        made = explainer(self.predictor.classifier, (height, width, channels))
        names = tuple(self.classes[index] for index in wanted)
        return Explanation(made.method, made.meaning, images, names, made.maps(images, wanted))

    def __repr__(self) -> str:
        best = self.info.lineage.best_epoch
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in best.items() if name.startswith("val_"))
        name = self.info.architecture["name"]
        return f"TrainedModel({name}, {len(self.classes)} classes, {numbers}, path={str(self.path)!r})"

    def _repr_html_(self) -> str:
        shown = {**self.info.lineage.best_epoch, **{f"model.{k}": v for k, v in self.info.architecture.items()}}
        return html.block(repr(self), html.html_table(("of the best epoch", "value"), list(shown.items())))


@dataclass(frozen=True)
class Explanation:
    """Heat maps of the evidence for a class.

    Attributes:
        method: The method used: Grad-CAM or occlusion.
        meaning: A sentence that explains the maps.
        images: [n, height, width, channels] uint8.
        classes: [n] names of the classes explained.
        maps: [n, height, width] in 0..1: larger values mean more evidence for the class.
    """

    method: str
    meaning: str
    images: Images
    classes: tuple[str, ...]
    maps: Floats

    def __repr__(self) -> str:
        return f"Explanation({self.method} of {len(self.images)} images)"

    def _repr_html_(self) -> str:
        from sightline.reporting.plots.gallery import Tile, draw_gallery
        from sightline.reporting.plots.overlay import overlay
        from sightline.reporting.plots.style import LIGHT, class_label

        tiles = []
        for number, (image, name, heat) in enumerate(zip(self.images, self.classes, self.maps, strict=True)):
            tiles += [
                Tile(image, "", "image", wrong=False),
                Tile(overlay(image, heat), "", f"evidence for {class_label(name, number, 16)}", wrong=False),
            ]
        return html.block(
            repr(self), html.notes([self.meaning]), html.inline_picture(draw_gallery(tiles, "", LIGHT), repr(self))
        )


@dataclass(frozen=True)
class ModelEvaluation:
    """A model's scores on the test images: the result of `sightline.evaluate`.

    Attributes:
        path: Its folder, with `report.html`, tables and figures.
        model: The model that was evaluated.
        data: The dataset that it was evaluated on.
    """

    path: Path
    model: TrainedModel = field(repr=False)
    data: ProcessedDataset = field(repr=False)

    @functools.cached_property
    def metrics(self) -> Mapping[str, float]:
        """The metrics in `metrics_detail.json`."""
        return dict(json.loads((self.path / "metrics_detail.json").read_bytes()))

    @property
    def report(self) -> Path:
        """The report, a self-contained HTML page."""
        return self.path / "report.html"

    def to_pandas(self) -> pd.DataFrame:
        """Returns one row per test image: id, true and predicted class names, the prediction's probability."""
        import pandas as pd

        from sightline.datasets import predictions

        answers = predictions.load_predictions(self.path / "predictions.parquet")
        names = np.array(self.data.classes, object)
        columns = {"id": answers.ids, "label": names[answers.labels], "predicted": names[answers.predicted]}
        return pd.DataFrame({**columns, "probability": answers.probabilities.max(axis=1)})

    def __repr__(self) -> str:
        n = self.metrics
        interval = f"{n['accuracy_low']:.4f} to {n['accuracy_high']:.4f}"
        summary = f"accuracy {n['accuracy']:.4f} ({interval}) on {n['images']:,.0f} test images"
        return f"ModelEvaluation({summary}, path={str(self.path)!r})"

    def _repr_html_(self) -> str:
        from sightline.reporting import metric_titles

        rows = [
            (row.metric.title, row.value, row.interval) for row in metric_titles.metric_rows(self.metrics) if row.main
        ]
        confusion = self.path / "figures" / "confusion_counts.png"
        return html.block(
            repr(self),
            html.html_table(("metric", "value", "95 % interval"), rows),
            html.inline_picture(confusion.read_bytes() if confusion.is_file() else None, "confusion matrix"),
        )


@dataclass(frozen=True)
class ExportedModel:
    """A bundle with everything that prediction needs: the result of `sightline.export`.

    Attributes:
        path: Its folder; copy it to wherever predictions are made, and open it with `sightline.load`.
        notes: Lines on the checks and measurements made before it was written.
    """

    path: Path
    notes: tuple[str, ...] = field(repr=False)

    def load(self, model: str = "auto", threads: int = 0) -> Bundle:
        """Opens it; see `sightline.load`."""
        from sightline.predict.load import load

        return load(self.path, model, threads)

    def __repr__(self) -> str:
        return f"ExportedModel(path={str(self.path)!r})"

    def _repr_html_(self) -> str:
        return html.block(repr(self), html.preformatted(self.notes))
