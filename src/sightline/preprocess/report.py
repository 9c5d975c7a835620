"""What preprocessing says on the terminal."""

from __future__ import annotations

from typing import Any

from sightline.preprocess.config import PreprocessConfig

_NOTABLE = 0.05


def lines(summary: dict[str, Any], config: PreprocessConfig) -> list[str]:
    """Returns what to say of a processed set: the counts, and what a person should look at."""
    counts = ", ".join(f"{count:,} {split}" for split, count in summary["images_per_split"].items())
    copies = f" and {summary['augmented_copies']:,} augmented copies" if summary["augmented_copies"] else ""
    said = [f"{summary['images']:,} images{copies} of {config.size} x {config.size} px ({counts})"]
    split, most = max(summary["largest_class_share_deviation"].items(), key=lambda item: item[1])
    if most > _NOTABLE:
        said.append(
            f"a class's share in {split} is {most:.1%} of the images away from its share of all: the set is small; "
            "another preprocess.split_seed may come closer"
        )
    if leaks := summary["leaks"]["found"]:
        done = "left out" if summary["leaks"]["left_out"] else "kept, as preprocess.leaks=keep asks"
        said.append(
            f"{leaks:,} image(s) that the source put into another split than a duplicate or a member of their group: "
            f"{done}"
        )
    said += [f"{count:,} image(s): {note}" for note, count in summary["notes"].items()]
    return said
