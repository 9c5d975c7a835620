"""The options of the hardware and of debug runs."""

from __future__ import annotations

from dataclasses import dataclass

from sightline.config.schema import Option, Registry, require, require_one_of

TRAINERS: Registry[TrainerOption] = Registry("train/trainer")
DEBUGS: Registry[DebugOption] = Registry("train/debug")


@TRAINERS.register("auto", "cpu", "ddp", "gpu", "mps")
@dataclass
class TrainerOption(Option):
    """The hardware.

    Attributes:
        accelerator: Lightning's name: auto, cpu, gpu or mps.
        devices: Number of devices in each machine that train together, a process each; 0 for every GPU there is.
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
        require(0 <= self.devices <= 1024, f"devices: must be 0 (all) to 1024, not {self.devices}")
        require(1 <= self.nodes <= 1024, f"nodes: must be 1 to 1024, not {self.nodes}")
        require_one_of("precision", self.precision, ("auto", "32-true", "bf16-mixed", "16-mixed"))


@DEBUGS.register("none", "fast_dev", "overfit", "profile")
@dataclass
class DebugOption(Option):
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
            require(value is None or value >= 1, f"{name}: must be at least 1, or null, not {value}")
        require(self.overfit >= 0, f"overfit: must be at least 0, not {self.overfit}")
        if self.profiler is not None:
            require_one_of("profiler", self.profiler, ("simple", "advanced"))

    @property
    def active(self) -> bool:
        """Whether the run is to find a fault, and its model no model to keep."""
        return any((self.epochs, self.batches, self.overfit, self.profiler))
