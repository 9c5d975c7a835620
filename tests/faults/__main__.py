"""A campaign of any length: `python -m tests.faults --seed 1 --hours 1`, or `make faults SEED=1 HOURS=1`."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.faults.campaign import Campaign
from tests.pipeline.project import STAGES


def main() -> None:
    """Runs campaigns until the time is over, and prints what was tried and found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--hours", type=float, default=0, help="rounds with other seeds until so long; 0: one round")
    parser.add_argument("--faults", type=int, default=2, help="calls of each kind and stage in a round; 0: every one")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES)
    options = parser.parse_args()
    end, seed = time.monotonic() + 3600 * options.hours, options.seed
    tried: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    while True:
        with tempfile.TemporaryDirectory(prefix="faults-") as folder:
            for stage, number, findings in Campaign(Path(folder), options.stages).run(options.faults, seed):
                tried[stage] += number
                wrong[stage] += len(findings)
                print(f"seed {seed}, {stage}: {number} faults, {len(findings)} taken wrongly", flush=True)
                for found in findings:
                    print(f"  {found.fault}: {found.problem}\n{found.printed}", flush=True)
        seed += 1
        if time.monotonic() > end:
            break
    print(f"{sum(tried.values())} faults, {sum(wrong.values())} taken wrongly")
    raise SystemExit(bool(sum(wrong.values())))


if __name__ == "__main__":
    main()
