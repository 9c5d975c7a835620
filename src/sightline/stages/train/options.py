"""The schemas of the train section's choices: optimisers, schedules, losses and so on; imports nothing heavy."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sightline.config.schema import Option, require, require_one_of


def _check_optimizer(lr: float, weight_decay: float) -> None:
    require(0 < lr < math.inf, f"lr: must be positive and finite, is {lr}")
    require(0 <= weight_decay < math.inf, f"weight_decay: must not be negative, is {weight_decay}")


@dataclass
class AdamW(Option):
    """AdamW (Loshchilov and Hutter 2019). Attributes: learning rate, decoupled weight decay, momenta."""

    lr: float
    weight_decay: float
    betas: list[float]

    def __post_init__(self) -> None:
        _check_optimizer(self.lr, self.weight_decay)
        require(len(self.betas) == 2, "betas: two numbers are wanted")
        require(all(0 <= beta < 1 for beta in self.betas), f"betas: must be in [0, 1), are {self.betas}")


@dataclass
class Sgd(Option):
    """Stochastic gradient descent with momentum. Attributes: learning rate, momentum, Nesterov's form, L2 decay."""

    lr: float
    momentum: float
    nesterov: bool
    weight_decay: float

    def __post_init__(self) -> None:
        _check_optimizer(self.lr, self.weight_decay)
        require(0 <= self.momentum < 1, f"momentum: must be in [0, 1), is {self.momentum}")
        require(self.momentum > 0 or not self.nesterov, "nesterov: needs a momentum above 0")


@dataclass
class Lion(Option):
    """Lion: steps of one size, in the sign of the momentum (Chen et al. 2023); wants a third of AdamW's rate.

    Attributes: learning rate, decoupled weight decay, interpolation and decay of the momentum.
    """

    lr: float
    weight_decay: float
    betas: list[float]

    def __post_init__(self) -> None:
        _check_optimizer(self.lr, self.weight_decay)
        require(len(self.betas) == 2, "betas: two numbers are wanted")
        require(all(0 <= beta < 1 for beta in self.betas), f"betas: must be in [0, 1), are {self.betas}")


@dataclass
class Constant(Option):
    """The learning rate stays as it is."""


@dataclass
class Cosine(Option):
    """Linear warm-up, then a cosine from the peak to `final` times it (Loshchilov and Hutter 2017, no restarts).

    Attributes:
        warmup: Share of all steps spent warming up, 0 to below 1.
        final: Last learning rate as a share of the peak, 0 to 1.
    """

    warmup: float
    final: float

    def __post_init__(self) -> None:
        require(0 <= self.warmup < 1, f"warmup: must be in [0, 1), is {self.warmup}")
        require(0 <= self.final <= 1, f"final: must be in [0, 1], is {self.final}")


@dataclass
class TrainerOption(Option):
    """The hardware.

    Attributes:
        accelerator: Lightning's name: auto, cpu, gpu or mps.
        devices: How many of them in each machine train together, a process each; 0 for every GPU there is.
        nodes: Machines that train together.
        precision: Lightning's name, or "auto": bf16-mixed on a GPU that has it, 32-true elsewhere.
        deterministic: Refuse operations whose result differs from run to run.
        compile: Compile the network by torch.compile: minutes at first, worth it on a GPU for long trainings.
    """

    accelerator: str
    devices: int
    nodes: int
    precision: str
    deterministic: bool
    compile: bool

    def __post_init__(self) -> None:
        require_one_of("accelerator", self.accelerator, ("auto", "cpu", "gpu", "mps"))
        require(0 <= self.devices <= 1024, f"devices: must be 0 (all) to 1024, is {self.devices}")
        require(1 <= self.nodes <= 1024, f"nodes: must be 1 to 1024, is {self.nodes}")
        require_one_of("precision", self.precision, ("auto", "32-true", "bf16-mixed", "16-mixed"))


@dataclass
class OneCycle(Option):
    """Up to the peak and down to almost nothing, momentum the other way (Smith and Topin 2018).

    Attributes:
        warmup: Share of all steps spent going up, above 0 and below 1.
        start: First learning rate as a share of the peak, above 0 to 1.
        final: Last learning rate as a share of the first, above 0 to 1.
    """

    warmup: float
    start: float
    final: float

    def __post_init__(self) -> None:
        require(0 < self.warmup < 1, f"warmup: must be in (0, 1), is {self.warmup}")
        for name in ("start", "final"):
            require(0 < getattr(self, name) <= 1, f"{name}: must be in (0, 1], is {getattr(self, name)}")


@dataclass
class Step(Option):
    """The learning rate is cut at fixed points.

    Attributes:
        milestones: Shares of all steps at which it is cut.
        factor: What it is multiplied by, above 0 to 1.
    """

    milestones: list[float]
    factor: float

    def __post_init__(self) -> None:
        require(
            all(0 < share < 1 for share in self.milestones), f"milestones: must be in (0, 1), are {self.milestones}"
        )
        require(0 < self.factor <= 1, f"factor: must be in (0, 1], is {self.factor}")


@dataclass
class CrossEntropy(Option):
    """Cross-entropy.

    Attributes:
        label_smoothing: Share of the target spread over all classes, 0 to below 1 (Szegedy et al. 2016).
    """

    label_smoothing: float

    def __post_init__(self) -> None:
        require(0 <= self.label_smoothing < 1, f"label_smoothing: must be in [0, 1), is {self.label_smoothing}")


@dataclass
class Focal(Option):
    """Cross-entropy that counts an image less, the surer the network is of its class (Lin et al. 2017).

    Attributes:
        gamma: How much less; 0 is cross-entropy.
    """

    gamma: float

    def __post_init__(self) -> None:
        require(self.gamma >= 0, f"gamma: must not be negative, is {self.gamma}")


@dataclass
class Mixing(Option):
    """Blends the images of a batch and their labels: mixup (Zhang et al. 2018) or CutMix (Yun et al. 2019).

    Attributes:
        alpha: Of the Beta distribution that the share is drawn from; larger mixes more evenly.
    """

    alpha: float

    def __post_init__(self) -> None:
        require(self.alpha > 0, f"alpha: must be positive, is {self.alpha}")


@dataclass
class NoOption(Option):
    """Nothing."""


@dataclass
class Ema(Option):
    """Exponential moving average of the weights, which validation, and the model kept, use.

    Attributes:
        decay: Share of the average that a step leaves, 0 to below 1.
    """

    decay: float

    def __post_init__(self) -> None:
        require(0 <= self.decay < 1, f"decay: must be in [0, 1), is {self.decay}")


@dataclass
class Swa(Option):
    """Mean of the weights at the end of the last epochs (stochastic weight averaging, Izmailov et al. 2018).

    All epochs are trained: stopping early would leave out those that are to be averaged.

    Attributes:
        start: Share of the epochs after which averaging begins, 0 to below 1.
    """

    start: float

    def __post_init__(self) -> None:
        require(0 <= self.start < 1, f"start: must be in [0, 1), is {self.start}")


@dataclass
class Debug(Option):
    """Short runs to find a fault.

    Attributes:
        epochs: Epochs at most, whatever train.max_epochs says; null for all.
        batches: Batches of training and of validation in an epoch; null for all.
        overfit: Train and validate on so many batches of the training split only; 0 for none.
        profiler: null, simple or advanced: a table of what took how long, at the end.
    """

    epochs: int | None
    batches: int | None
    overfit: int
    profiler: str | None

    def __post_init__(self) -> None:
        for name in ("epochs", "batches"):
            value = getattr(self, name)
            require(value is None or value >= 1, f"{name}: must be at least 1, or null, is {value}")
        require(self.overfit >= 0, f"overfit: must not be negative, is {self.overfit}")
        if self.profiler is not None:
            require_one_of("profiler", self.profiler, ("simple", "advanced"))

    @property
    def active(self) -> bool:
        """Whether the run is to find a fault, and its model no model to keep."""
        return any((self.epochs, self.batches, self.overfit, self.profiler))


OPTIMIZERS: dict[str, type[Option]] = {"adamw": AdamW, "lion": Lion, "sgd": Sgd}
SCHEDULES: dict[str, type[Option]] = {"constant": Constant, "cosine": Cosine, "one_cycle": OneCycle, "step": Step}
LOSSES: dict[str, type[Option]] = {"cross_entropy": CrossEntropy, "focal": Focal}
MIXINGS: dict[str, type[Option]] = {"none": NoOption, "cutmix": Mixing, "mixup": Mixing}
WEIGHT_AVERAGING: dict[str, type[Option]] = {"none": NoOption, "ema": Ema, "swa": Swa}
DEBUGS: dict[str, type[Option]] = dict.fromkeys(("none", "fast_dev", "overfit", "profile"), Debug)
TRAINERS: dict[str, type[Option]] = dict.fromkeys(("auto", "cpu", "ddp", "gpu", "mps"), TrainerOption)
