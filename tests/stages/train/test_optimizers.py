"""Lion and the schedules by their definitions."""

from __future__ import annotations

import pytest
import torch

from sightline.stages.train.optimizers.lion import Lion
from sightline.stages.train.schedules.one_cycle import OneCycle
from sightline.stages.train.schedules.step import Step


def groups(*parameters):
    return [{"params": list(parameters), "lr": 0.1, "weight_decay": 0.01, "name": "all"}]


def test_lion_by_hand():
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    optimizer = Lion("lion", 0.1, 0.01, [0.9, 0.99]).build(groups(weight))
    value, momentum = weight.detach().clone(), torch.zeros(2)
    for gradient in ([0.3, -0.1], [-5.0, 0.2], [0.001, 0.0]):
        weight.grad = torch.tensor(gradient)
        optimizer.step()
        interpolated = 0.9 * momentum + 0.1 * weight.grad
        value = value * (1 - 0.1 * 0.01) - 0.1 * torch.sign(interpolated)
        momentum = 0.99 * momentum + 0.01 * weight.grad
        assert torch.allclose(weight, value, atol=1e-6)


def test_lion_leaves_what_has_no_gradient_and_comes_back_from_its_state():
    frozen, weight = torch.nn.Parameter(torch.ones(1)), torch.nn.Parameter(torch.ones(1))
    first = Lion("lion", 0.1, 0.5, [0.9, 0.99]).build(groups(frozen, weight))
    weight.grad = torch.ones(1)
    first.step()
    assert frozen.item() == 1
    second = Lion("lion", 0.1, 0.5, [0.9, 0.99]).build(groups(frozen, weight))
    second.load_state_dict(first.state_dict())
    assert torch.equal(second.state[weight]["momentum"], first.state[weight]["momentum"])


def rates(option, steps: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=2.0, momentum=0.9)
    schedule = option.build(optimizer, steps)
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


def test_step_cuts_at_its_milestones():
    assert rates(Step("step", [0.5, 0.75], 0.1), 8) == pytest.approx([2, 2, 2, 2, 0.2, 0.2, 0.02, 0.02])


@pytest.mark.parametrize("steps", [4, 30, 101])
def test_one_cycle_goes_up_to_the_peak_and_down_to_almost_nothing(steps):
    seen = rates(OneCycle("one_cycle", 0.3, 0.04, 0.0001), steps)
    peak = seen.index(max(seen))
    assert seen[0] == pytest.approx(2 * 0.04)
    assert max(seen) <= 2 + 1e-9
    assert seen[: peak + 1] == sorted(seen[: peak + 1])
    assert seen[peak:] == sorted(seen[peak:], reverse=True)
    assert peak == pytest.approx(0.3 * steps, abs=1.5)
