"""Result of an export (parity check, sizes and latencies), for the terminal and MLflow."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sightline.stages.export.latency import BATCHES
from sightline.stages.export.parity import ParityResult


@dataclass(frozen=True)
class Int8Result:
    """The comparison of the int8 network with the float network.

    Attributes:
        agreement: Share of images for which both predict the same class, 0 to 1.
        accuracy_loss: Loss of accuracy in percentage points; negative if int8 is better.
        refused: The reason why its file was not written; None if it was.
    """

    agreement: float
    accuracy_loss: float
    refused: str | None


@dataclass(frozen=True)
class ExportResult:
    """The result of an export.

    Attributes:
        parity: Comparison of the bundle's float network with the trained one.
        counts: Number of images that were compared, by split.
        int8: The result for the int8 network; None if it is disabled.
        default: The form that predicts by default.
        bytes: By network, the size of its files.
        seconds: By network and batch size, the median time of a call. Times vary from run to run, so the bundle has
            none.
    """

    parity: ParityResult
    counts: dict[str, int]
    int8: Int8Result | None
    default: str
    bytes: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, dict[int, float]] = field(default_factory=dict)


def export_lines(result: ExportResult) -> list[str]:
    """Returns the human-readable result, one line per entry."""
    images = " and ".join(f"{count:,} {split}" for split, count in result.counts.items())
    text = [f"equals the trained model on {images} images (largest difference {result.parity.max_difference:.1e})"]
    if result.int8:
        compared = (
            f"int8 agrees with fp32 on {100 * result.int8.agreement:.2f} % of them, "
            f"accuracy {0 - result.int8.accuracy_loss:+.2f} points"
        )
        text.append(f"{compared}: not written ({result.int8.refused})" if result.int8.refused else compared)
    text.append(f"{'network':<10}{'MB':>8}" + "".join(f"{f'ms, {size}':>10}" for size in BATCHES))
    for name, times in result.seconds.items():
        cells = "".join(f"{1000 * times[size]:>10.2f}" for size in BATCHES)
        mark = "  <- predicts by default" if name == result.default else ""
        text.append(f"{name:<10}{result.bytes[name] / 1e6:>8.2f}{cells}{mark}")
    return text


def run_metrics(result: ExportResult) -> dict[str, float]:
    """Returns the default network's size and its time for one image, as metrics for comparing runs."""
    return {
        "megabytes": result.bytes[result.default] / 1e6,
        "latency_ms": float(f"{1000 * result.seconds[result.default][1]:.4g}"),
    }


def measurements(result: ExportResult) -> dict[str, Any]:
    """Returns all measurements as JSON values."""
    networks = {
        name: {"megabytes": result.bytes[name] / 1e6}
        | {f"latency_ms_batch_{size}": 1000 * seconds for size, seconds in times.items()}
        for name, times in result.seconds.items()
    }
    return {
        "default": result.default,
        "parity": {"images": result.counts, "max_difference": result.parity.max_difference},
        "int8": vars(result.int8) if result.int8 else None,
        "networks": networks,
    }
