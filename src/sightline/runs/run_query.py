"""Selection and order of runs: `--filter` and `--sort`."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Sequence

from sightline.core.errors import UserError
from sightline.core.text import number_in
from sightline.runs.run_record import RunRecord

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
FORM = "write KEY=VALUE, KEY!=VALUE, KEY~TEXT, or KEY<NUMBER, <=, >, >=, such as model=cnn or test_accuracy>0.98"


def select(runs: Sequence[RunRecord], conditions: Sequence[str]) -> list[RunRecord]:
    """Returns the runs that satisfy all conditions; a run without the value satisfies only `!=`.

    Raises:
        UserError: If a condition is invalid, or no run has its key.
    """
    kept = list(runs)
    for condition in conditions:
        match = re.fullmatch(r"\s*([^=!<>~]+?)\s*(<=|>=|!=|=|<|>|~)\s*(.*?)\s*", condition)
        if match is None:
            raise UserError(f"--filter {condition}: {FORM}")
        key, sign, wanted = match.groups()
        _require_known(runs, key, "--filter")
        number = number_in(wanted)
        if sign in _COMPARISONS and number is None:
            raise UserError(f"--filter {condition}: {wanted or 'nothing'} is no number; {FORM}")
        kept = [run for run in kept if _fulfils(run.value(key), sign, wanted, number)]
    return kept


def order(runs: Sequence[RunRecord], key: str, reverse: bool = False) -> list[RunRecord]:
    """Returns the runs sorted by a value, the best first, followed by the runs without one.

    Accuracies and similar metrics are sorted descending, all other numbers ascending, and text alphabetically.

    Raises:
        UserError: If no run has the key.
    """
    _require_known(runs, key, "--sort")
    large_first = ("acc" in key or key.endswith("worst")) != reverse
    found = [(run, value) for run in runs if (value := run.value(key)) is not None and value == value]
    numbers = {run.id: number_in(str(value)) for run, value in found}
    if all(number is not None for number in numbers.values()):
        ordered = sorted(found, key=lambda pair: numbers[pair[0].id] or 0.0, reverse=large_first)
    else:
        ordered = sorted(found, key=lambda pair: str(pair[1]), reverse=reverse)
    have = {run.id for run, _ in found}
    return [run for run, _ in ordered] + [run for run in runs if run.id not in have]


def _require_known(runs: Sequence[RunRecord], key: str, option: str) -> None:
    if runs and all(run.value(key) is None for run in runs):
        known = sorted({name for run in runs for values in (run.metrics, run.params) for name in values})
        known = [name for name in known if not name.startswith("system/")]
        raise UserError(f"{option} {key}: no run has it; there are id, name, status, {', '.join(known)}")


def _fulfils(value: float | str | None, sign: str, wanted: str, number: float | None) -> bool:
    if value is None:
        return sign == "!="
    if sign in _COMPARISONS:
        held = number_in(str(value))
        return held is not None and number is not None and _COMPARISONS[sign](held, number)
    if sign == "~":
        return wanted.lower() in str(value).lower()
    held = number_in(str(value))
    equal = str(value) == wanted or (number is not None and held is not None and math.isclose(held, number))
    return equal == (sign == "=")
