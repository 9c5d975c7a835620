"""The targets of `fuzz/` and some mutants; Atheris, which goes on for hours, is not needed."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from fuzz.mutants import MutantRun, mutant
from fuzz.sound_files import KINDS
from fuzz.targets import TARGETS
from sightline.predict.bundle import Bundle
from tests.exported import Project

MUTANTS = 200


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_and_mutants_are_read_or_refused(name: str) -> None:
    target, draw = TARGETS[name], random.Random(name)
    seeds = list(target.seeds())
    for data in seeds + [mutant(draw.choice(seeds), draw) for _ in range(MUTANTS)]:
        target.run(data)


def test_mutants_are_images_or_refused_in_a_line(exported: Project, tmp_path: Path) -> None:
    tally = MutantRun(Bundle.load(exported.bundle, threads=1), tmp_path, seed=0).run(range(600))
    assert set(tally.files) == set(KINDS)
    assert 100 < tally.images.total() < tally.files.total() == 600
