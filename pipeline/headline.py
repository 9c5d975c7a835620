"""headline: reports/metrics_detail.json, models/model.json -> reports/metrics.json, the few numbers that git keeps."""

from __future__ import annotations

import sys
from pathlib import Path

from sightline.core import files, stage_inputs
from sightline.core.errors import fault
from sightline.stages.headline.stage import write_headline

DETAIL = Path("reports/metrics_detail.json")
MODEL = Path("models/model.json")
OUTPUT = Path("reports/metrics.json")


def main() -> None:
    """Writes the headline metrics; the stage has no settings, so nothing is composed."""
    try:
        with files.lock("headline"):
            stage_inputs.require_intact()
            write_headline(DETAIL, MODEL, OUTPUT)
    except Exception as error:
        mendable = fault(error)
        if mendable is None:
            raise
        print(f"headline: {mendable}", file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
