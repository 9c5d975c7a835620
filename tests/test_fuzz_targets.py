"""The targets of `fuzz/` over their seeds and some mutants of them; Atheris, which goes on for hours, is not needed."""

from __future__ import annotations

import random

import pytest

from fuzz.targets import TARGETS

MUTANTS = 200


def mutant(data: bytes, draw: random.Random) -> bytes:
    """Returns a copy with some bytes changed, removed, doubled or put in, or cut."""
    changed = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        place = draw.randrange(len(changed) + 1)
        match draw.randrange(5):
            case 0 if place < len(changed):
                changed[place] ^= 1 << draw.randrange(8)
            case 1:
                del changed[place : place + draw.randint(1, 8)]
            case 2:
                changed[place:place] = changed[place : place + draw.randint(1, 64)]
            case 3:
                changed[place:place] = draw.choice((b"\xff\xff\xff\xff", b"\0", b"\n", b"../", b'"', b"\x7f"))
            case _:
                changed = changed[: max(1, place)]
    return bytes(changed)


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_and_mutants_are_read_or_refused(name: str) -> None:
    target, draw = TARGETS[name], random.Random(name)
    seeds = list(target.seeds())
    for data in seeds + [mutant(draw.choice(seeds), draw) for _ in range(MUTANTS)]:
        target.run(data)
