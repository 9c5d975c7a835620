"""Datasets of torchvision, read with its own classes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sightline.config.schema import require, require_one_of
from sightline.core.errors import UserError
from sightline.core.rejection import RejectionError
from sightline.core.sampling import sample_filter
from sightline.datasets.raw_set import ImageRecord, Rejection
from sightline.imaging import png
from sightline.sources import tree
from sightline.sources.base import SOURCES, Source, SourceConfig, SourceOption
from sightline.sources.content import NO_MEMORY, ContentMemory

_Splits = dict[str | None, dict[str, Any]]

_BY_FLAG: _Splits = {"train": {"train": True}, "test": {"train": False}}
_BY_NAME: _Splits = {"train": {"split": "train"}, "test": {"split": "test"}}
# The arguments that select a split of each dataset. EuroSAT has no splits.
_SPLITS: dict[str, _Splits] = {
    "MNIST": _BY_FLAG,
    "FashionMNIST": _BY_FLAG,
    "KMNIST": _BY_FLAG,
    "EMNIST": _BY_FLAG,
    "CIFAR10": _BY_FLAG,
    "CIFAR100": _BY_FLAG,
    "SVHN": _BY_NAME,
    "STL10": _BY_NAME,
    "Flowers102": {**_BY_NAME, "val": {"split": "val"}},
    "EuroSAT": {None: {}},
}


@SOURCES.register("torchvision")
@dataclass
class TorchvisionOption(SourceOption):
    """A dataset of torchvision, by the name of its class there.

    Attributes:
        path: Folder that contains the dataset, or that it is downloaded to.
        dataset: The class: MNIST, FashionMNIST, KMNIST, EMNIST, CIFAR10, CIFAR100, SVHN, STL10, Flowers102, EuroSAT.
        variant: The part of EMNIST (byclass, bymerge, balanced, letters, digits, mnist); null for other datasets.
        download: Whether a missing dataset may be downloaded from the internet.
    """

    path: str | None
    dataset: str
    variant: str | None
    download: bool

    def __post_init__(self) -> None:
        require(self.path is not None, "path: has no value; set ingest.path to the folder of the set")
        require_one_of("dataset", self.dataset, tuple(sorted(_SPLITS)))

    def open(self, config: SourceConfig) -> Source:
        return TorchvisionSource(self, config.max_bytes, config.limit)


class TorchvisionSource:
    """A dataset of torchvision, with its own splits. torchvision takes seconds to import, so only `records` does that.

    Args:
        option: The source's settings: the dataset, its location, and whether it may be downloaded.
        max_bytes: Larger files are rejected without being read.
        limit: Maximum number of images, sampled evenly from each class; None for all.

    Attributes:
        notes: Human-readable notes on what was read; complete once all records have been read.
    """

    def __init__(self, option: TorchvisionOption, max_bytes: int, limit: int | None = None) -> None:
        self._option = option
        self._root = Path(option.path or "")
        self._max_bytes = max_bytes
        self._limit = limit
        self.notes: list[str] = []

    def fingerprint(self, memory: ContentMemory = NO_MEMORY) -> dict[str, Any]:  # noqa: ARG002 - nothing is read
        """Returns the dataset's name: published datasets do not change."""
        return {"dataset": self._option.dataset, "variant": self._option.variant}

    def records(self) -> Iterator[ImageRecord | Rejection]:
        splits = {split: self._dataset(arguments) for split, arguments in _SPLITS[self._option.dataset].items()}
        labelled = (
            (_id(split, number), None if targets is None else str(targets[number]))
            for split, dataset in splits.items()
            for targets in [_targets(dataset)]
            for number in range(len(dataset))
        )
        self.notes = []
        is_chosen = sample_filter(labelled, self._limit, self.notes)
        for split, dataset in splits.items():
            names = getattr(dataset, "classes", None)
            paths = _files(dataset)
            for number in range(len(dataset)):
                identity = _id(split, number)
                if not is_chosen(identity):
                    continue
                try:
                    data, target, path = self._image(dataset, number, paths)
                except RejectionError as fault:
                    yield Rejection(identity, fault.reason, fault.detail)
                else:
                    yield ImageRecord(identity, data, str(names[target]) if names else str(target), split, path=path)

    def _image(self, dataset: Any, number: int, paths: list[tuple[Path, int]] | None) -> tuple[bytes, int, str | None]:
        if paths is None:
            picture, target = dataset[number]
            return _png(picture), int(target), None
        path, target = paths[number]
        return tree.read_file(path, self._max_bytes), int(target), path.name

    def _dataset(self, arguments: dict[str, Any]) -> Any:
        option = self._option
        if option.dataset == "EMNIST":
            arguments = {**arguments, "split": option.variant or "balanced"}
        try:
            from torchvision import datasets
        except ImportError:
            raise UserError("ingest.source=torchvision: torchvision is not installed; install torchvision") from None
        try:
            return getattr(datasets, option.dataset)(str(self._root), download=option.download, **arguments)
        except ImportError as error:  # scipy, for the labels of some datasets
            raise UserError(
                f"ingest.source.dataset={option.dataset}: needs a package that is not installed: {error}"
            ) from None
        except (
            OSError,
            RuntimeError,
        ) as error:  # raised by torchvision for missing files, or without a network
            if option.download:
                raise UserError(
                    f"ingest.source.dataset={option.dataset}: cannot be fetched ({type(error).__name__}); without a "
                    f"network, put its files into {self._root} as torchvision stores them"
                ) from None
            raise UserError(
                f"ingest.source.dataset={option.dataset}: not found in {self._root}; download it with "
                "++ingest.source_options.download=true, or set ingest.path to the folder that contains it"
            ) from None


def _id(split: str | None, number: int) -> str:
    return f"{split or 'all'}-{number:06}"


def _targets(dataset: Any) -> list[int] | None:
    """Returns the class numbers, if the dataset stores them separately from its images."""
    for name in ("targets", "labels", "_labels"):  # a tensor (MNIST), lists and arrays
        if (found := getattr(dataset, name, None)) is not None:
            return [int(number) for number in found]
    return None


def _files(dataset: Any) -> list[tuple[Path, int]] | None:
    """Returns the files of a dataset that stores images as files, which are used unchanged; else None."""
    if hasattr(dataset, "samples"):  # ImageFolder and its subclasses
        return [(Path(path), target) for path, target in dataset.samples]
    if hasattr(dataset, "_image_files"):  # Flowers102
        return [(Path(path), target) for path, target in zip(dataset._image_files, dataset._labels, strict=True)]
    return None


def _png(picture: Any) -> bytes:
    """Returns a PIL image of mode L or RGB as PNG."""
    return png.encode(picture.tobytes(), picture.height, picture.width, len(picture.getbands()))
