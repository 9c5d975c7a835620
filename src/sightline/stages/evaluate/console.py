"""Terminal output of the evaluate stage."""

from __future__ import annotations

from sightline.stages.evaluate.novelty_measurement import NoveltyResult
from sightline.stages.evaluate.results import Evaluation

TEST_SET_REUSE_WARNING = 10
"""Number of times a test set has been scored from which a warning about its reuse is shown."""


def evaluation_lines(found: Evaluation, scored: int | None = None) -> list[str]:
    """Returns the lines that describe an evaluation.

    Args:
        found: The evaluation.
        scored: Number of times that this test split has been scored; None if unknown.
    """
    n = found.numbers
    output = [
        (
            f"accuracy {n['accuracy']:.4f} ({n['accuracy_low']:.4f} to {n['accuracy_high']:.4f}) on {n['images']} "
            f"{found.test.split} images"
        ),
        f"calibration error {n['ece']:.4f}{_temperature(found)}",
        _abstention(found),
    ]
    if found.novelty is not None:
        output += _novelty(found, found.novelty)
    if found.worst is not None:
        worst = found.worst
        odds = f"p = {worst.p_value:.2g}" if worst.p_value < 0.05 else "which may be chance"
        output.append(
            f"worst slice: {worst.by} {worst.value}, accuracy {worst.accuracy:.4f} on {worst.images} images ({odds})"
        )
    if found.robustness is not None:
        hardest = min(found.robustness.accuracies.items(), key=lambda item: (sum(item[1]), item[0]))
        mean = found.robustness.mean_corruption_error
        relative = "" if mean is None else f"; mean corruption error {mean:.3f} times the baseline's"
        if mean is not None and found.robustness.unrelated:
            relative += f" (without {', '.join(found.robustness.unrelated)}, where it hardly errs)"
        output.append(
            f"corrupted, {1 - found.robustness.error:.4f} of {found.robustness.images} images are classified "
            f"correctly (clean: {found.robustness.clean:.4f}); hardest: {hardest[0]} "
            f"{sum(hardest[1]) / len(hardest[1]):.4f}{relative}"
        )
        if found.robustness.note:
            output.append(f"no mean corruption error: {found.robustness.note}")
    if found.baselines:
        output += _baselines(found)
    if found.suspects_note:
        output.append(f"no list of suspect labels: {found.suspects_note}")
    if found.suspects:
        number = "1 label" if len(found.suspects) == 1 else f"{len(found.suspects)} labels"
        verb = "is" if len(found.suspects) == 1 else "are"
        output.append(f"{number} of validation and {found.test.split} images {verb} suspect")
    if scored is not None:
        warning = "" if scored < TEST_SET_REUSE_WARNING else _REUSE
        output.append(f"these {found.test.split} images have been scored {_times(scored)}{warning}")
    return output


def _temperature(found: Evaluation) -> str:
    images = f"{len(found.validation.ids)} validation images"
    if found.temperature == 1:
        return f"; the {images} call for no temperature"
    return f"; {found.numbers['ece_uncalibrated']:.4f} without the temperature {found.temperature:.3g} from {images}"


_REUSE = ": choices made by their scores fit them better than new images; keep some images that nobody has looked at"


def _baselines(found: Evaluation) -> list[str]:
    """Returns a line on the best baseline if it is more accurate than the network; else nothing."""
    best = found.baselines[0]
    if best.difference >= 0:
        return []
    low, high = (100 * -end for end in reversed(best.difference_interval))
    lead = f"{-100 * best.difference:.1f} points (95 % interval {low:+.1f} to {high:+.1f})"
    return [f"{best.name} is better by {lead}" if best.beats else f"{best.name} leads by {lead}, which may be chance"]


def _abstention(found: Evaluation) -> str:
    wanted, threshold = found.target_accuracy, found.abstention.threshold
    if threshold is None:
        return f"no confidence reaches an accuracy of {wanted:g} on the validation images"
    target = f"target accuracy {wanted:g}: at a confidence of {threshold:.3g} or more"
    if "selective_accuracy" not in found.numbers:
        return f"{target}, no {found.test.split} image is classified"
    n = found.numbers
    return (
        f"{target}, {n['coverage']:.4f} of the images are classified, {n['selective_accuracy']:.4f} of them correctly"
    )


def _novelty(found: Evaluation, measured: NoveltyResult) -> list[str]:
    if measured.fitted is None:
        return [f"no image will be labelled none of these: {measured.note}"]
    line = (
        f"{found.numbers['novel_share']:.4f} of the {found.test.split} images are labelled none of these "
        f"(allowed: {measured.fitted.rate:g})"
    )
    lines = [line, measured.note] if measured.note else [line]
    if measured.unknown is not None and "unknown_refused" in found.numbers:
        share, low, high = (found.numbers[f"unknown_refused{end}"] for end in ("", "_low", "_high"))
        lines.append(
            f"{share:.4f} ({low:.4f} to {high:.4f}) of {len(measured.unknown.judged)} unknown images are labelled "
            f"none of these; {measured.unknown.setting} others set the threshold"
        )
    elif measured.unknown is not None:
        lines.append("no unknown image is left to test novelty detection on: ingest.unknown needs at least two")
    return lines


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")
