"""The settings shared by sources that read a tree of folders: its location, and how to read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sightline.config.schema import require, require_one_of
from sightline.sources.base import SourceConfig, SourceOption
from sightline.sources.layout import LAYOUTS
from sightline.sources.layout_rules import LayoutRules
from sightline.sources.option_checks import require_one_place


@dataclass
class TreeOption(SourceOption):
    """Base class of the options that read a tree of folders.

    Attributes:
        path: The root, or the file that contains the tree.
        url: The URL of the same, instead of `path`.
        layout: The meaning of the first folders: `classes`, `splits`, or `auto` to detect it.
        class_depth: Number of folders that form a class's name.
    """

    path: str | None
    url: str | None
    layout: str
    class_depth: int

    has_paths: ClassVar[bool] = True
    # If classes are deeper in the tree, the layout's notes say so, and how to read them.
    one_class_remedy: ClassVar[str] = (
        "add a folder with images of another class beside it, or name the folder that holds a folder per class"
    )
    no_training_remedy: ClassVar[str] = "set ++ingest.source_options.layout=classes to draw the splits from them"
    no_label_remedy: ClassVar[str] = (
        "put the images into a folder per class, list them and their classes (ingest.source=table), or read the class "
        "from their names (ingest.class_from.pattern)"
    )

    def __post_init__(self) -> None:
        require_one_place(self.path, self.url)
        require_one_of("layout", self.layout, LAYOUTS)
        require(self.class_depth >= 1, f"class_depth: must be at least 1, not {self.class_depth}")

    def rules(self, config: SourceConfig) -> LayoutRules:
        """Returns the rules for reading the tree."""
        return LayoutRules(self.layout, self.class_depth, config.patterns)
