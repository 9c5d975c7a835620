"""Terminal output of preprocessing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sightline.core.errors import UserError
from sightline.core.json_fields import field, parse_object
from sightline.datasets import lost_detail
from sightline.datasets.raw_set import SUMMARY
from sightline.stages.preprocess import division
from sightline.stages.preprocess.config import PreprocessConfig


def set_lines(summary: dict[str, Any], config: PreprocessConfig, raw: Path) -> list[str]:
    """Returns the lines that describe a processed set: the counts, and everything worth checking.

    Args:
        summary: The processed set's summary.
        config: The preprocess section.
        raw: Folder written by the ingest stage.

    Raises:
        UserError: If the raw set's summary is missing or damaged.
    """
    counts = ", ".join(f"{count:,} {split}" for split, count in summary["images_per_split"].items())
    copies = f" and {summary['augmented_copies']:,} augmented copies" if summary["augmented_copies"] else ""
    result = [f"{summary['images']:,} images{copies} of {config.size} x {config.size} px ({counts})"]
    if loss := _lost(raw / SUMMARY, config):
        result.append(loss)
    result += division.split_lines(summary)
    if leaks := summary["leaks"]["found"]:
        done = "left out" if summary["leaks"]["left_out"] else "kept, as preprocess.leaks=keep asks"
        result.append(
            f"{leaks:,} image(s) that the source put into another split than a duplicate or another image of their "
            f"group: {done}"
        )
    result += [f"{count:,} image(s): {note}" for note, count in summary["notes"].items()]
    return result


def _lost(path: Path, config: PreprocessConfig) -> str | None:
    try:
        audit = field(parse_object(path.read_bytes()), "audit", dict)
        field(audit, "modes", dict)
        for side in ("width", "height"):
            for number in ("min", "median", "max"):
                field(field(field(audit, "sizes", dict), side, dict), number, float)
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run the ingest stage") from None
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}): run the ingest stage again") from None
    return lost_detail.lost(audit, config.size, config.channels)
