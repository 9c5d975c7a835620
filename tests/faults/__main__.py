"""Campaigns of any length: `make faults SEED=1 HOURS=1`, or `python -m tests.faults calls kills flips --seed 1`.

`calls` makes system calls of the stages fail, `kills` kills parts of a running `dvc repro` and the servers that it
uses, and `flips` flips bits in the files of a project.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from tests import forked
from tests.faults.campaign import Campaign
from tests.pipeline.project import STAGES

Tried = tuple[str, int, list[str]]
"""The kind of fault, the number of faults, and a description of each failure."""


def calls(folder: Path, options: argparse.Namespace, seed: int) -> Iterator[Tried]:
    """Makes system calls fail."""
    for stage, number, findings in Campaign(folder, options.stages).run(options.faults, seed):
        yield f"calls, {stage}", number, [f"{found.fault}: {found.problem}\n{found.printed}" for found in findings]


def kills(folder: Path, options: argparse.Namespace, seed: int) -> Iterator[Tried]:
    """Kills processes."""
    from tests.faults.kills import KillCampaign

    with closing(KillCampaign(folder)) as campaign:
        for kill in campaign.run(options.kills, seed):
            what = f"kills, {kill.target}{' (sightline repair was needed)' if kill.repaired else ''}"
            print(f"  {kill.target}, {kill.change}, after {kill.seconds:.2f} s of work", flush=True)
            yield (
                what,
                1,
                [f"{kill.change}, after {kill.seconds:.2f} s of work: {kill.problem}"] if kill.problem else [],
            )


def flips(folder: Path, options: argparse.Namespace, seed: int) -> Iterator[Tried]:
    """Flips bits."""
    from tests.faults.flips import FlipCampaign

    with closing(FlipCampaign(folder)) as campaign:
        for found in campaign.run(options.flips, seed):
            what = f"flips, {found.flip.kind}: {found.taken or 'wrong'}"
            yield what, 1, [f"{found.flip.path}, bit {found.flip.bit}: {found.problem}"] if found.problem else []


CAMPAIGNS = {"calls": calls, "kills": kills, "flips": flips}


def main() -> None:
    """Runs campaigns until the time is up, and prints the faults and failures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", default=["calls"], help=f"{', '.join(CAMPAIGNS)}; default: calls")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--hours", type=float, default=0, help="rounds with other seeds until so long; 0: one round")
    parser.add_argument("--faults", type=int, default=2, help="calls of each kind and stage in a round; 0: every one")
    parser.add_argument("--kills", type=int, default=20, help="kills in a round")
    parser.add_argument("--flips", type=int, default=50, help="flipped bits in a round")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES, help="stages whose calls fail")
    options = parser.parse_args()
    if unknown := set(options.what) - set(CAMPAIGNS):
        parser.error(f"{', '.join(unknown)}: there are {', '.join(CAMPAIGNS)}")
    forked.enabled = True
    end, seed = time.monotonic() + 3600 * options.hours, options.seed
    tried: Counter[str] = Counter()
    wrong = 0
    while True:
        for campaign in options.what:
            with tempfile.TemporaryDirectory(prefix="faults-") as folder:
                for what, number, findings in CAMPAIGNS[campaign](Path(folder), options, seed):
                    tried[what] += number
                    wrong += len(findings)
                    for found in findings:
                        print(f"seed {seed}, {what}: {found}", flush=True)
                    if campaign == "calls" or tried.total() % 50 == 0:
                        print(f"seed {seed}, {what}: {tried.total()} so far, {wrong} taken wrongly", flush=True)
        seed += 1
        if time.monotonic() > end:
            break
    for what, number in sorted(tried.items()):
        print(f"{number:>6} {what}")
    print(f"{tried.total():>6} in all, {wrong} taken wrongly")
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
