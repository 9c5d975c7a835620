"""Options for hardware and debug runs."""

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
        devices: Number of devices per machine, with one process each; 0 for all GPUs.
        nodes: Number of machines that train together.
        precision: Lightning's name, or "auto": bf16-mixed on a GPU that supports it, 32-true elsewhere.
        deterministic: Whether to refuse operations whose result differs from run to run.
        compile: Whether to use torch.compile, which takes minutes at first and pays for long training runs on a GPU.
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
    """Short runs for debugging.

    Attributes:
        epochs: Maximum number of epochs, in addition to train.max_epochs; null for no such limit.
        batches: Number of training and of validation batches per epoch; null for all.
        overfit: Number of batches of the training split to train and validate on; 0 to use the splits as usual.
        profiler: null, simple or advanced: prints a table of run times at the end.
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
        """Whether this is a debug run, whose model is not meant to be kept."""
        return any((self.epochs, self.batches, self.overfit, self.profiler))
