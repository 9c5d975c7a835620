"""The main metrics of an evaluation, which are kept in git and shown by `dvc metrics`.

They have a separate stage because DVC does not restore stages with uncached outputs (treeverse/dvc#8738): in a clone,
the evaluation itself comes from the cache, and only this file is written again.
"""

from __future__ import annotations

from pathlib import Path

from sightline.core import files
from sightline.core.errors import UserError
from sightline.core.json_fields import parse_object
from sightline.metrics.headline_metrics import PLACES, headline


def write_headline(detail: Path, model: Path, output: Path) -> None:
    """Writes the headline: the main metrics, and the validation loss of the best epoch.

    Args:
        detail: `metrics_detail.json`, as the evaluate stage wrote it.
        model: `model.json`, as the train stage wrote it.
        output: The JSON file to write.

    Raises:
        UserError: If one of the two is missing or not a JSON object.
    """
    try:
        numbers, trained = (parse_object(path.read_bytes()) for path in (detail, model))
    except (FileNotFoundError, ValueError) as error:
        raise UserError(f"{error}: run dvc repro, which makes it") from None
    best = trained.get("best_epoch", {})
    chosen_by = {"val_loss": best["val_loss"]} if "val_loss" in best else {}
    shown = {**headline(numbers), **chosen_by}
    files.write_json(output, {name: round(value, PLACES) for name, value in shown.items()})
