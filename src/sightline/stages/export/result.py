"""What an export came to: what was proven, what was measured; for the terminal and for MLflow."""

from __future__ import annotations

from dataclasses import dataclass, field

from sightline.stages.export.latency import BATCHES
from sightline.stages.export.parity import Parity


@dataclass(frozen=True)
class Int8:
    """How the network in integers compares with the one in floats.

    Attributes:
        agreement: Share of images on which both name the same class, 0 to 1.
        accuracy_loss: Percentage points that it is less accurate; negative if it is better.
        refused: Why its file was not written; None if it was.
    """

    agreement: float
    accuracy_loss: float
    refused: str | None


@dataclass(frozen=True)
class Outcome:
    """An export.

    Attributes:
        parity: The bundle's network in floats against the trained one.
        counts: How many images were compared, by split.
        int8: The network in integers; None if none was asked for.
        default: The form that predicts unless another is asked for.
        bytes: Size of each network's file, by its name in `seconds`.
        seconds: Median time of a call, by network and batch size. They differ from run to run, so they are in no file.
    """

    parity: Parity
    counts: dict[str, int]
    int8: Int8 | None
    default: str
    bytes: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, dict[int, float]] = field(default_factory=dict)


def lines(outcome: Outcome) -> list[str]:
    """Returns the outcome for a person, a line an entry."""
    images = " and ".join(f"{count:,} {split}" for split, count in outcome.counts.items())
    said = [f"equals the trained model on {images} images (largest difference {outcome.parity.max_difference:.1e})"]
    if outcome.int8:
        compared = (
            f"int8 agrees with fp32 on {100 * outcome.int8.agreement:.2f} % of them, "
            f"accuracy loss {outcome.int8.accuracy_loss:.2f} points"
        )
        said.append(f"{compared}: not written ({outcome.int8.refused})" if outcome.int8.refused else compared)
    said.append(f"{'network':<10}{'MB':>8}" + "".join(f"{f'ms, {size}':>10}" for size in BATCHES))
    for name, times in outcome.seconds.items():
        cells = "".join(f"{1000 * times[size]:>10.2f}" for size in BATCHES)
        mark = "  <- predicts by default" if name == outcome.default else ""
        said.append(f"{name:<10}{outcome.bytes[name] / 1e6:>8.2f}{cells}{mark}")
    return said


def metrics(outcome: Outcome) -> dict[str, float]:
    """Returns the outcome as metrics of the model's run."""
    found: dict[str, float] = {
        "parity_images": outcome.parity.images,
        "parity_max_difference": outcome.parity.max_difference,
    }
    if outcome.int8:
        found |= {"int8_agreement": outcome.int8.agreement, "int8_accuracy_loss": outcome.int8.accuracy_loss}
    for name, times in outcome.seconds.items():
        found[f"megabytes/{name}"] = outcome.bytes[name] / 1e6
        found |= {f"latency_ms/{name}_batch_{size}": 1000 * seconds for size, seconds in times.items()}
    return found
