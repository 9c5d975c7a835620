"""Some failing calls, kills and flipped bits of the first stages; `make faults` tries all, for as long as one likes."""

from __future__ import annotations

import errno
import shutil
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.campaign import Campaign
from tests.faults.flips import CACHE, CORRECTIONS, MENDED, REFUSED, FlipCampaign
from tests.faults.killed_run import PARTS
from tests.faults.kills import KillCampaign
from tests.faults.stage_faults import Fault, StageRan, complaint

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler"),
]


@pytest.mark.parametrize("faults", [1, pytest.param(3, marks=pytest.mark.full)])
def test_a_stage_whose_calls_fail_loses_nothing_and_runs_again(tmp_path: Path, faults: int) -> None:
    tried, wrong = 0, []
    for _, number, findings in Campaign(tmp_path, ["preprocess"]).run(faults, seed=0):
        tried += number
        wrong += [f"{found.fault}: {found.problem}\n{found.printed}" for found in findings]
    assert tried > 3 * faults
    assert not wrong, "\n".join(wrong)


def test_a_repro_of_which_a_part_is_killed_is_repeated_with_the_same_command(tmp_path: Path) -> None:
    with closing(KillCampaign(tmp_path, ("ingest",), PARTS)) as campaign:
        kills = list(campaign.run(4, seed=0))
    assert {kill.target for kill in kills} == set(PARTS)
    assert not [kill.problem for kill in kills if kill.problem]


def test_a_flipped_bit_is_named_refused_and_mended(tmp_path: Path) -> None:
    with closing(FlipCampaign(tmp_path, last="preprocess")) as campaign:
        outcomes = list(campaign.run(24, seed=0))
    assert not [found.problem for found in outcomes if found.problem]
    assert {"data/raw", "data/processed", CORRECTIONS, CACHE} <= {found.flip.kind for found in outcomes}
    assert {found.taken for found in outcomes} >= {MENDED, REFUSED}


@pytest.mark.parametrize(
    ("code", "output", "after", "wrong"),
    [
        (0, "", {"data/a": "new"}, ""),
        (0, "", {"data/a": "old"}, "exit 0, but"),
        (2, "train: data/a: the disk is full", {"data/a": "old"}, ""),
        (2, "train: data/a: the disk is full", {"data/a": "half"}, "neither"),
        (2, "train: data/a: the disk is full", {}, "neither"),
        (2, "", {"data/a": "old"}, "without a line"),
        (2, "Traceback (most recent call last):", {"data/a": "old"}, "a traceback"),
        (-9, "", {"data/a": "old"}, "exit code -9"),
    ],
)
def test_what_is_wrong_with_a_run(code: int, output: str, after: dict[str, str], wrong: str) -> None:
    found = complaint("train", StageRan(code, output), {"data/a": "old"}, after, {"data/a": "new"})
    assert wrong in found if wrong else not found


def test_a_fault_reads_as_the_call_and_its_error() -> None:
    assert str(Fault("write", 3, errno.ENOSPC)) == "write 3: ENOSPC"
