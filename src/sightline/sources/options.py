"""The options of the sources of images: where each reads from, and in which ranges; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

from sightline.config.schema import Option, require, require_one_of
from sightline.core.credentials import credential_in
from sightline.sources.databases.options import MongodbOption, SqlOption
from sightline.sources.layout import LAYOUTS


@dataclass
class DigitsOption(Option):
    """scikit-learn's 1,797 handwritten digits: no download, no settings."""


@dataclass
class FolderOption(Option):
    """A folder with one folder a class: `root/class/**/image` or `root/{train,val,test}/class/**/image`.

    Attributes:
        path: The root.
        url: The root behind a URL that fsspec knows (`s3://bucket/birds`); instead of `path`.
        layout: What the first folders are: `classes`, `splits`, or `auto` to find out.
        class_depth: How many folders make a class's name.
    """

    path: str | None
    url: str | None
    layout: str
    class_depth: int

    def __post_init__(self) -> None:
        _one_place(self.path, self.url)
        _tree(self.layout, self.class_depth)


@dataclass
class ArchiveOption(Option):
    """A zip or tar (.gz, .xz, .zst) that holds such a folder; read without unpacking.

    Attributes:
        path: The archive.
        url: The archive behind a URL; instead of `path`.
        layout: What the first folders in it are: `classes`, `splits`, or `auto` to find out.
        class_depth: How many folders make a class's name.
        max_entries: An archive with more entries is refused.
        max_ratio: So many times its size, or 1 GiB where that is more, may an archive unpack to.
    """

    path: str | None
    url: str | None
    layout: str
    class_depth: int
    max_entries: int
    max_ratio: int

    def __post_init__(self) -> None:
        _one_place(self.path, self.url)
        _tree(self.layout, self.class_depth)
        require(self.max_entries >= 1, f"max_entries: must be at least 1, not {self.max_entries}")
        require(self.max_ratio >= 1, f"max_ratio: must be at least 1, not {self.max_ratio}")


@dataclass
class TableOption(Option):
    """A list of images: CSV, TSV, Parquet or JSON lines, told apart by the file's ending.

    Attributes:
        path: The list.
        url: The list behind a URL; instead of `path`.
        root: Folder that image paths are relative to; null for the list's own folder.
        path_column: Column that names the image file; null where `bytes_column` holds the image.
        bytes_column: Column that holds the encoded image (Parquet; base64 text or data URLs in the others), or null.
        label_column: Column of the class.
        split_column: Column of the split, or null.
        group_column: Column of the group whose images stay in one split, or null.
        id_column: Column of the id, or null: the path, or the row's number where there is none.
        unlisted: Whether files below `root` that no row names are reported.
    """

    path: str | None
    url: str | None
    root: str | None
    path_column: str | None
    bytes_column: str | None
    label_column: str
    split_column: str | None
    group_column: str | None
    id_column: str | None
    unlisted: bool

    def __post_init__(self) -> None:
        _one_place(self.path, self.url)
        require(
            (self.path_column is None) != (self.bytes_column is None),
            "path_column: name either it or bytes_column, and set the other to null",
        )


@dataclass
class TorchvisionOption(Option):
    """A set that torchvision knows, by the name of torchvision's class.

    Attributes:
        path: Folder that holds the set, or that it is downloaded to.
        dataset: The class: MNIST, FashionMNIST, KMNIST, EMNIST, CIFAR10, CIFAR100, SVHN, STL10, Flowers102, EuroSAT.
        variant: The part of EMNIST (byclass, bymerge, balanced, letters, digits, mnist); null for other sets.
        download: Whether a set that is not there may be fetched from the internet.
    """

    path: str | None
    dataset: str
    variant: str | None
    download: bool

    def __post_init__(self) -> None:
        require(self.path is not None, "path: has no value; set ingest.path to the folder of the set")
        require_one_of("dataset", self.dataset, TORCHVISION_DATASETS)


TORCHVISION_DATASETS = (
    "CIFAR10", "CIFAR100", "EMNIST", "EuroSAT", "FashionMNIST", "Flowers102", "KMNIST", "MNIST", "STL10", "SVHN",
)  # fmt: skip


@dataclass
class IdxOption(Option):
    """IDX files as MNIST comes in: `*-images-idx3-ubyte[.gz]` beside `*-labels-idx1-ubyte[.gz]`.

    Attributes:
        path: The folder. Files that begin with `train` give the split "train", with `t10k` or `test` "test".
        class_names: Names of the classes in order of their number; empty to call them by number.
    """

    path: str | None
    class_names: list[str]

    def __post_init__(self) -> None:
        require(self.path is not None, "path: has no value; set ingest.path to the folder of the IDX files")


@dataclass
class HuggingfaceOption(Option):
    """Parquet files with an `Image` feature, or a folder as `datasets` saves one.

    Attributes:
        path: A Parquet file, a folder of them, or a folder written by `save_to_disk`.
        image_column: Column with the `Image` feature.
        label_column: Column of the class: text, or a `ClassLabel` whose names the files hold.
        group_column: Column of the group whose images stay in one split, or null.
        id_column: Column of the id, or null: the file's name and the row's number.
    """

    path: str | None
    image_column: str
    label_column: str
    group_column: str | None
    id_column: str | None

    def __post_init__(self) -> None:
        require(self.path is not None, "path: has no value; set ingest.path to the Parquet file or folder")


def _tree(layout: str, class_depth: int) -> None:
    require_one_of("layout", layout, LAYOUTS)
    require(class_depth >= 1, f"class_depth: must be at least 1, not {class_depth}")


def _one_place(path: str | None, url: str | None) -> None:
    require(path is None or url is None, "path: set ingest.path or ingest.url, not both")
    require(path is not None or url is not None, "path: has no value; set ingest.path (or ingest.url)")
    if url is not None:
        scheme = url.partition("://")[0]
        require(
            "://" in url and scheme not in ("file", "local") and "::" not in url,
            "url: must be the URL of a service, as s3://bucket/folder; name what is on disk by ingest.path",
        )
        # Configuration is recorded by DVC (dvc.lock) and MLflow (parameters).
        part = credential_in(url)
        require(
            part is None,
            f"url: must not hold credentials, as {part} may be; set them in the environment, as the service's own "
            "tools take them, or download what is there and set ingest.path",
        )


SOURCES: dict[str, type[Option]] = {
    "digits": DigitsOption,
    "folder": FolderOption,
    "archive": ArchiveOption,
    "table": TableOption,
    "mongodb": MongodbOption,
    "sql": SqlOption,
    "torchvision": TorchvisionOption,
    "idx": IdxOption,
    "huggingface": HuggingfaceOption,
}
