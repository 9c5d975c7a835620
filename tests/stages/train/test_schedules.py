"""Optimisers and schedules: against their formulas."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sightline.config.schema import Registry
from sightline.stages.train.losses import LOSSES, LossOption
from sightline.stages.train.mixing import MIXINGS, MixingOption
from sightline.stages.train.optimizers import OPTIMIZERS, OptimizerOption
from sightline.stages.train.optimizers.adamw import AdamW
from sightline.stages.train.optimizers.sgd import Sgd
from sightline.stages.train.schedules import SCHEDULES, ScheduleOption
from sightline.stages.train.schedules.constant import Constant
from sightline.stages.train.schedules.cosine import Cosine
from sightline.stages.train.weight_averaging import WEIGHT_AVERAGING, WeightAveragingOption


def parameter() -> nn.Parameter:
    return nn.Parameter(torch.ones(2))


def rates(option: ScheduleOption, steps: int, peak: float = 0.5) -> list[float]:
    """Returns the learning rate of every step."""
    optimizer = torch.optim.SGD([parameter()], lr=peak)
    schedule = option.build(optimizer, steps)
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


@settings(deadline=None)  # the first call imports what an optimiser needs
@given(steps=st.integers(1, 200), warmup=st.floats(0, 0.99), final=st.floats(0, 1), peak=st.floats(1e-6, 10))
def test_cosine_rises_to_the_peak_and_falls_to_the_end(steps: int, warmup: float, final: float, peak: float) -> None:
    seen = rates(Cosine("cosine", warmup, final), steps, peak)
    top = int(warmup * steps)
    assert all(0 <= rate <= peak * (1 + 1e-9) for rate in seen)
    for step in range(top):
        assert seen[step] == pytest.approx(peak * (step + 1) / top)
    assert seen[top] == pytest.approx(peak)
    for earlier, later in zip(seen[top:], seen[top + 1 :], strict=False):
        assert later <= earlier * (1 + 1e-9)
    last = (steps - 1 - top) / (steps - top)
    assert seen[-1] == pytest.approx(peak * (final + (1 - final) * (1 + math.cos(math.pi * last)) / 2))
    assert seen[-1] >= final * peak * (1 - 1e-9)


def test_cosine_by_hand() -> None:
    assert rates(Cosine("cosine", 0.2, 0.0), 10, peak=1.0) == pytest.approx(
        [0.5, 1.0, 1.0, 0.961940, 0.853553, 0.691342, 0.5, 0.308658, 0.146447, 0.038060], abs=1e-6
    )
    assert rates(Cosine("cosine", 0.0, 1.0), 5, peak=0.3) == pytest.approx([0.3] * 5)
    assert rates(Constant("constant"), 4, peak=0.3) == [0.3] * 4


def test_a_schedule_past_its_end_stays_at_the_last_rate() -> None:
    optimizer = torch.optim.SGD([parameter()], lr=1.0)
    schedule = Cosine("cosine", 0.1, 0.25).build(optimizer, 10)
    for _ in range(15):
        optimizer.step()
        schedule.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.25)


def test_optimisers_get_every_setting() -> None:
    adamw = AdamW("adamw", 0.1, 0.02, [0.8, 0.9]).build([{"params": [parameter()]}])
    assert isinstance(adamw, torch.optim.AdamW)
    assert {key: adamw.defaults[key] for key in ("lr", "weight_decay", "betas")} == {
        "lr": 0.1,
        "weight_decay": 0.02,
        "betas": (0.8, 0.9),
    }
    sgd = Sgd("sgd", 0.1, 0.02, momentum=0.9, nesterov=True).build([{"params": [parameter()]}])
    assert isinstance(sgd, torch.optim.SGD)
    assert {key: sgd.defaults[key] for key in ("lr", "momentum", "nesterov", "weight_decay")} == {
        "lr": 0.1,
        "momentum": 0.9,
        "nesterov": True,
        "weight_decay": 0.02,
    }


@pytest.mark.parametrize("registry", [LOSSES, OPTIMIZERS, SCHEDULES, MIXINGS, WEIGHT_AVERAGING], ids=lambda r: r.choice)
def test_every_option_builds_what_its_file_says(registry: Registry[Any]) -> None:
    """Each of a registry, with the settings of its own file: a new one is tested by being there."""
    for name, option in registry.items():
        content = yaml.safe_load(Path(f"conf/{registry.choice}/{name}.yaml").read_text())
        if "lr" in content:
            content["lr"] = 0.1  # an interpolation
        made = option(**content)
        match made:
            case LossOption():
                loss = made.build(torch.tensor([1.0, 2.0, 3.0]))(torch.zeros(4, 3), torch.tensor([0, 1, 2, 2]))
                assert loss.isfinite()
            case OptimizerOption():
                weight = parameter()
                weight.grad = torch.ones(2)
                made.build([{"params": [weight], "lr": 0.1, "weight_decay": 0.0}]).step()
                assert (weight < 1).all()
            case ScheduleOption():
                assert max(rates(made, 20)) == pytest.approx(0.5, rel=0.02)
            case MixingOption():
                images, labels = torch.zeros(4, 8, 8, 1, dtype=torch.uint8), torch.arange(4)
                mix = made.build(4)
                assert mix is None or mix(images, labels)[1].shape == (4, 4)
            case WeightAveragingOption():
                assert (made.build(10) is None) == (name == "none")
            case _:
                raise AssertionError(name)
