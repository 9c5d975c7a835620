"""The machine that the network will be trained on."""

from __future__ import annotations

from dataclasses import dataclass

from sightline.core import cpu_threads


@dataclass(frozen=True)
class Machine:
    """The properties of a machine that the rules use.

    Attributes:
        cores: CPU cores that a process may use.
        memory: Main memory, in GiB.
        gpu: Name of the GPU that training would take, or None.
    """

    cores: int
    memory: float
    gpu: str | None

    def lines(self) -> list[str]:
        """Returns it as a person reads it."""
        return [f"{self.cores} CPU cores, {self.memory:.0f} GiB of memory, {self.gpu or 'no GPU'}"]


def this_machine() -> Machine:
    """Returns the properties of this machine."""
    import psutil
    import torch  # seconds, but nothing else knows the GPU that it will take

    gpu = None
    if torch.cuda.is_available():
        gpu = str(torch.cuda.get_device_name())
    elif torch.backends.mps.is_available():
        gpu = "Apple GPU"
    return Machine(cpu_threads.available(), psutil.virtual_memory().total / 2**30, gpu)
