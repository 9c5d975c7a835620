"""Training history: one row per epoch."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from sightline.core.errors import UserError
from sightline.metrics.base import Floats


def read_history(path: Path) -> dict[str, Floats]:
    """Reads the CSV that the train stage wrote: columns of numbers, [epochs] each; an empty cell is NaN.

    Raises:
        UserError: If it is not such a table, with file and reason.
    """
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream, strict=True))
    if not rows or "epoch" not in rows[0]:
        raise UserError(f"{path}: no column 'epoch', or no row; run the train stage again")
    try:
        # Missing cells of a short row are None, which float() rejects; an empty cell is "".
        return {n: np.array([np.nan if row[n] == "" else float(row[n]) for row in rows]) for n in rows[0]}
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}: not a table of numbers ({error}); run the train stage again") from None


def quantities(history: Mapping[str, Floats]) -> list[str]:
    """Returns the quantities that a history has for training or validation: `loss` for `train_loss` or `val_loss`."""
    matches = (re.fullmatch(r"(?:train|val)_(\w+)", name) for name in history)
    return list(dict.fromkeys(match[1] for match in matches if match))
