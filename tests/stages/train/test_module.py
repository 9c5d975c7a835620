"""Optimisers and schedules: against their formulas."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sightline.config.schema import Option
from sightline.stages.train.lightning_module import build_optimizer, build_schedule
from sightline.stages.train.options import AdamW, Constant, Cosine, Sgd


def parameter() -> nn.Parameter:
    return nn.Parameter(torch.ones(2))


def rates(option: Option, steps: int, peak: float = 0.5) -> list[float]:
    """Returns the learning rate of every step."""
    optimizer = torch.optim.SGD([parameter()], lr=peak)
    schedule = build_schedule(option, optimizer, steps)
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


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
    schedule = build_schedule(Cosine("cosine", 0.1, 0.25), optimizer, 10)
    for _ in range(15):
        optimizer.step()
        schedule.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.25)


def test_optimisers_get_every_setting() -> None:
    adamw = build_optimizer(AdamW("adamw", 0.1, 0.02, [0.8, 0.9]), [parameter()])
    assert isinstance(adamw, torch.optim.AdamW)
    assert {key: adamw.defaults[key] for key in ("lr", "weight_decay", "betas")} == {
        "lr": 0.1,
        "weight_decay": 0.02,
        "betas": (0.8, 0.9),
    }
    sgd = build_optimizer(Sgd("sgd", 0.1, 0.9, True, 0.02), [parameter()])
    assert isinstance(sgd, torch.optim.SGD)
    assert {key: sgd.defaults[key] for key in ("lr", "momentum", "nesterov", "weight_decay")} == {
        "lr": 0.1,
        "momentum": 0.9,
        "nesterov": True,
        "weight_decay": 0.02,
    }


def test_an_unknown_option_is_an_error() -> None:
    with pytest.raises(TypeError, match="no optimiser for Option"):
        build_optimizer(Option("x"), [parameter()])
    with pytest.raises(TypeError, match="no schedule for Option"):
        build_schedule(Option("x"), torch.optim.SGD([parameter()], lr=1.0), 3)
