"""Optimisers and learning-rate schedules, built from their options."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from sightline.config.schema import Option
from sightline.stages.train.options import AdamW, Constant, Cosine, Lion, OneCycle, Sgd, Step


class LionOptimizer(Optimizer):
    """Lion (Chen et al. 2023, "Symbolic discovery of optimization algorithms", algorithm 2).

    Args:
        params: Parameters or groups of them.
        lr: Learning rate: every weight moves by this much in every step, decay apart.
        betas: Interpolation of momentum and gradient for the step; decay of the momentum.
        weight_decay: Decoupled weight decay.
    """

    def __init__(
        self, params: Iterable[Any], lr: float, betas: tuple[float, float] = (0.9, 0.99), weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Takes one step."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            first, second = group["betas"]
            parameters = [p for p in group["params"] if p.grad is not None]
            if not parameters:
                continue
            gradients = [p.grad for p in parameters]
            for parameter in parameters:
                self.state[parameter].setdefault("momentum", torch.zeros_like(parameter))
            momenta = [self.state[p]["momentum"] for p in parameters]
            torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
            steps = torch._foreach_lerp(momenta, gradients, 1 - first)
            torch._foreach_sign_(steps)
            torch._foreach_add_(parameters, steps, alpha=-group["lr"])
            torch._foreach_lerp_(momenta, gradients, 1 - second)
        return loss


def build_optimizer(option: Option, groups: list[dict[str, Any]]) -> Optimizer:
    """Builds the optimiser that an option describes.

    Args:
        option: One of `config.OPTIMIZERS`.
        groups: Parameter groups, each with its `lr` and `weight_decay`.
    """
    match option:
        case AdamW():
            return torch.optim.AdamW(groups, lr=option.lr, betas=_pair(option.betas), weight_decay=option.weight_decay)
        case Lion():
            return LionOptimizer(groups, lr=option.lr, betas=_pair(option.betas), weight_decay=option.weight_decay)
        case Sgd():
            return torch.optim.SGD(
                groups,
                lr=option.lr,
                momentum=option.momentum,
                nesterov=option.nesterov,
                weight_decay=option.weight_decay,
            )
        case _:
            raise TypeError(f"no optimiser for {type(option).__name__}")


def _pair(values: list[float]) -> tuple[float, float]:
    first, second = values
    return first, second


def build_schedule(option: Option, optimizer: Optimizer, steps: int) -> LRScheduler:
    """Builds the learning-rate schedule that an option describes, over `steps` optimiser steps."""
    match option:
        case Constant():
            return LambdaLR(optimizer, lambda _: 1.0)
        case Cosine():
            warmup = int(option.warmup * steps)

            def cosine(step: int) -> float:
                if step < warmup:
                    return (step + 1) / warmup
                progress = min(1.0, (step - warmup) / max(1, steps - warmup))
                return option.final + (1 - option.final) * (1 + math.cos(math.pi * progress)) / 2

            return LambdaLR(optimizer, cosine)
        case Step():
            cuts = [share * steps for share in option.milestones]
            return LambdaLR(optimizer, lambda step: option.factor ** sum(step >= cut for cut in cuts))
        case OneCycle():
            return OneCycleLR(
                optimizer,
                max_lr=[group["lr"] for group in optimizer.param_groups],
                total_steps=steps + 1,  # the scheduler also steps after the last one
                pct_start=option.warmup,
                div_factor=1 / option.start,
                final_div_factor=1 / option.final,
            )
        case _:
            raise TypeError(f"no schedule for {type(option).__name__}")
