"""A time budget for `dvc repro`: the settings that fit into it at the pace of this machine."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

from sightline.core.errors import UserError
from sightline.project_setup.choice import Choice
from sightline.project_setup.pace import Effort, Pace, Workload

BASELINES = 1 / 5
"""Share of the budget that the baselines may take."""
BUSY = 0.2
"""Share of the machine used by other programs above which it is mentioned."""
_SIDES = (96, 64, 48, 32)
_UNITS = {"s": 1, "m": 60, "h": 3600}


def seconds(text: str) -> float:
    """Reads a budget.

    >>> seconds("10m"), seconds("90s"), seconds("1.5h")
    (600.0, 90.0, 5400.0)

    Raises:
        UserError: If it is not a valid budget.
    """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([smh])", text.strip())
    if match is None or not float(match[1]):
        raise UserError(f"--budget {text}: not a duration, such as --budget 10m, 90s or 1h")
    return float(match[1]) * _UNITS[match[2]]


def within_budget(chosen: Mapping[str, Choice], pace: Pace, work: Workload, budget: float) -> dict[str, Choice]:
    """Returns the choices that a budget changes; none if everything fits.

    The budget reduces the epochs; if less than half of them would be left, also the image size, and then the network.
    The baselines are fitted on fewer images if they would take more than a fifth of the budget.

    Args:
        chosen: The choices of the rules.
        pace: The pace of this machine.
        work: The images.
        budget: Seconds.

    Raises:
        UserError: If not even the minimum fits.
    """
    fitted = _fitted(pace, work, budget)
    wanted, side = epochs_of(chosen), pace.side
    sides = [side, *(smaller for smaller in _SIDES if smaller < side and side > 32)]
    tried = [(Effort(0, px, False, fitted), wanted) for px in sides]
    if pace.lighter is not None:
        tried.append((Effort(0, sides[-1], True, fitted), pace.lighter.epochs or wanted))
    for effort, most in tried:
        rest = budget - pace.expected(work, effort)
        possible = int(rest / pace.epoch(work, effort.side, effort.lighter))
        if 2 * possible >= most:
            break
    least = min(work.least_epochs, most)
    if possible < least:
        # The baselines' share grows with the budget, until they are fitted on all images.
        beside = pace.expected(work, dataclasses.replace(effort, epochs=least, fitted=0))
        enough = min(beside / (1 - BASELINES), beside + pace.baselines * work.training)
        raise UserError(
            f"--budget: {budget / 60:.4g} min is too little on this machine: --budget {enough / 60 + 1:.0f}m"
        )
    return _changes(chosen, pace, work, budget, dataclasses.replace(effort, epochs=min(most, possible)))


def _fitted(pace: Pace, work: Workload, budget: float) -> int:
    """Returns how many images the baselines are fitted on within their share of a budget; round where not all."""
    if work.training * pace.baselines <= BASELINES * budget:
        return work.training
    return max(100, int(BASELINES * budget / pace.baselines) // 100 * 100)


def _changes(
    chosen: Mapping[str, Choice], pace: Pace, work: Workload, budget: float, effort: Effort
) -> dict[str, Choice]:
    """Returns the settings of an effort that differ from those chosen, with their reasons."""
    changed = {}
    speed = f"{budget / 60:.4g} min at {pace.training:,.0f} images/s of {pace.side} px"
    if effort.side != pace.side:
        changed["preprocess.size"] = Choice(effort.side, f"what fits into {speed}")
    if effort.lighter and pace.lighter is not None:
        reason = f"{pace.lighter.training:,.0f} images/s: what fits into {speed}"
        changed[pace.lighter.key] = Choice(pace.lighter.value, reason)
    if effort.epochs != epochs_of(chosen) and not (effort.lighter and pace.lighter and pace.lighter.epochs):
        reason = f"what fits into {speed}; without the budget {epochs_of(chosen)}"
        changed |= {"train.max_epochs": Choice(effort.epochs, reason)}
    if effort.fitted != work.training:
        reason = f"what the baselines manage in a fifth of {budget / 60:.4g} min; there are about {work.training:,}"
        changed["baseline.train_images"] = Choice(effort.fitted, reason)
    return changed


def epochs_of(chosen: Mapping[str, Choice]) -> int:
    """Returns the epochs that a training takes; a probe looks at each image once."""
    return 1 if chosen["train.recipe"].value == "probe" else int(chosen["train.max_epochs"].value)


def effort_of(chosen: Mapping[str, Choice], pace: Pace, work: Workload) -> Effort:
    """Returns the effort that corresponds to the settings."""
    lighter = pace.lighter is not None and chosen[pace.lighter.key].value == pace.lighter.value
    fitted = chosen.get("baseline.train_images")
    return Effort(
        epochs_of(chosen),
        int(chosen["preprocess.size"].value),
        lighter,
        work.training if fitted is None else min(work.training, int(fitted.value)),
    )


def budget_lines(chosen: Mapping[str, Choice], pace: Pace, work: Workload, budget: float) -> list[str]:
    """Returns lines on a plan within a budget: its expected duration, and the assumptions behind it."""
    expected = pace.expected(work, effort_of(chosen, pace, work))
    result = [f"{'budget':<16} dvc repro is expected to take {expected / 60:.1f} min of {budget / 60:.4g}"]
    if pace.others > BUSY:
        result.append(
            f"{'':<16} other programs use {pace.others:.0%} of this machine: the estimate assumes that this does not "
            "change"
        )
    return result


def without_slower(choice: Choice) -> Choice:
    """Returns a choice without its doubt if the alternative would take longer than the budget."""
    return dataclasses.replace(choice, doubt=None) if choice.doubt and choice.doubt.slower else choice
