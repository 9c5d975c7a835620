"""All knobs of the project, each with another allowed value."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sightline.config.compose import read_params
from sightline.config.sections import schemas

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"
CHOICES = {
    f"{stage}.{field.name}": sorted(field.metadata["options"])
    for stage, schema in schemas(CONF).items()
    for field in dataclasses.fields(schema)
    if "options" in field.metadata
}
# Sources that need a location to read from cannot be checked without one.
PLACES = {
    **{key: {"path": "somewhere"} for key in ("folder", "archive", "table", "huggingface", "idx", "torchvision")},
    "mongodb": {"url": "mongodb://host/images"},
    "sql": {"url": "sqlite:///images.db"},
}


@dataclass(frozen=True)
class Knob:
    """A key of a stage's section, or of one of its options.

    Attributes:
        stage: The section.
        key: The key in the section; for an option's own setting, the key that selects the option.
        option: The option that the setting belongs to, or "".
        setting: The option's own key, or "".
        other: An allowed value that differs from the default and from the current value in params.yaml.
    """

    stage: str
    key: str
    option: str
    setting: str
    other: Any

    @property
    def composed(self) -> str:
        """The key in the composed configuration."""
        return f"{self.stage}.{self.key}{f'.{self.setting}' if self.setting else ''}"

    @property
    def word(self) -> str:
        """The key as written in params.yaml, for `-S` and on the command line."""
        return f"{self.stage}.{self.key}{f'_options.{self.setting}' if self.setting else ''}"

    def section(self) -> dict[str, Any]:
        """The section of params.yaml that sets the knob, with all settings that the value requires."""
        section: dict[str, Any] = dict(NEEDS.get(self.composed, {}))
        if self.setting:
            own = {**section.get(f"{self.key}_options", {}), self.setting: self.other}
            section |= {self.key: self.option, f"{self.key}_options": own}
        else:
            section[self.key] = self.other
        return {**PLACES.get(section.get("source", ""), {}), **section} if self.stage == "ingest" else section

    def __str__(self) -> str:
        return f"{self.stage}.{self.key}{f'={self.option}.{self.setting}' if self.setting else ''}"


# Values that cannot be guessed, by the end of the key's name; the longest matching entry wins.
# fmt: off
OTHER: dict[str, Any] = {
    "class_from.pattern": "(a)", "group_from.pattern": "(a)", "split_from.pattern": "(a)",
    "columns": ["path", "label"], "separator": ";", "pixel_columns": "*", "pixel_shape": [4, 4],
    "ingest.path": "elsewhere", "ingest.url": "s3://bucket/set", "limit": 50, "labels": "labels.yaml",
    "corrections": "other.csv", "additions": "other", "ingest.unknown": "others.zip",
    "on_reject": "fail", "conflicts": "keep", "layout": "classes", "ingest.formats": ["PNG"], "workers": 1,
    "conformity_score": "aps",
    "mongodb.max_bytes": 1000, "path": "elsewhere",
    "url": "s3://bucket/other", "mongodb.url": "mongodb://other/images", "sql.url": "sqlite:///other.db",
    **{f"{part}_{kind}": "another" for kind in ("column", "field") for part in ("image", "label", "group", "id")},
    **{f"{part}_{kind}": "another" for kind in ("column", "field") for part in ("split", "changed", "checksum")},
    "bytes_column": "another", "path_column": "another", "class_names": ["no", "007", "1e-3"], "database": "other",
    "collection": "other", "filter": {"approved": True}, "projection": {"image": 1}, "schema": "other",
    "table": "other", "query": "SELECT * FROM images", "root": "other", "dataset": "MNIST",
    "torchvision.variant": "letters",
    "balance": "images",
    "channels": 3, "fold": "1 of 3", "leaks": "keep", "sample_bits": 12, "memo_gib": 1.5, "rotate": 12.5,
    "max_side": 64, "color": "hsv",
    "hsv.color": "lab", "patch_size": 7, "search_size": 17, "diameter": 7, "kernel_size": 5, "wavelet.wavelet": "haar",
    "use": "crop", "block_size": 33, "foreground": "dark", "threshold.method": "triangle", "copies": 2,
    "dask.address": "tcp://host:8786", "ray.address": "host:6379",
    "methods": ["majority", "dense"], "reference": "hog_svm",
    "augment_on": "albumentations", "cache_in_memory": "never", "gradient_clip": 1.0, "monitor": "val_accuracy",
    "class_weights": "inverse", "num_workers": 1, "blocks": 1, "stem": "half", "convnext.variant": "small",
    "efficientnet.variant": "b1", "mobilenet_v3.variant": "large", "vit.variant": "s", "vit.patch_size": 4,
    "weights": "weights.safetensors", "dense.hidden": [16], "pool": "mean", "model_name": "resnet18",
    "arguments": {"drop_rate": 0.1}, "depth": 10, "lr": 0.003, "betas": [0.8, 0.9], "milestones": [0.25],
    "accelerator": "cpu", "cpu.accelerator": "auto", "precision": "32-true", "cpu.precision": "bf16-mixed",
    "mps.precision": "16-mixed", "profiler": "advanced", "debug.none.epochs": 1, "batches": 3, "overfit.epochs": 1,
    "slices": ["size"], "export.formats": ["pt2"], "license": "MIT", "int8.default": "fp32", "min_speedup": 2.0,
    "promote.name": "other", "evaluate.title": "birds", "baseline.network": "efficientnet_lite1",
    "learning_curve": "majority", "evaluate.tta": ["mirror"], "train.teacher": "models/bundle",
    "train.start_from": "champion", "baseline.minutes": 30.0,
    "sweep.metric": "val_accuracy", "sweep.n_trials": 7, "sweep.time": "30m", "sweep.sampler": "tpe",
    "sweep.pruner": "median", "sweep.executor.slurm.partition": "other", "sweep.executor.slurm.cluster": "local",
    "sweep.executor.ray.address": "auto",
}
# fmt: on
CLEANING = ("color", "max_side", "trim_borders", "trim_tolerance", "drop_blank", "blank_tolerance")
FINE_TUNING = ("head_from_probe", "lr_mult", "layer_decay", "frozen_statistics", "ema_decay")
PRETRAINED = {"model": "efficientnet_lite0"}
# The settings that a value requires, by the key in the composed configuration.
NO_PATH = {"source_options": {"path_column": None}}
NEEDS: dict[str, dict[str, Any]] = {
    "ingest.source.url": {"path": None},
    **{f"train.recipe{f'.{setting}' if setting else ''}": PRETRAINED for setting in ("", *FINE_TUNING)},
    "ingest.source.query": {"source_options": {"table": None}},
    **{f"ingest.source.{part}_column{s}": NO_PATH for part, s in (("bytes", ""), ("pixel", "s"))},
    **{f"ingest.{part}_from": {"source": "folder"} for part in ("class", "group", "split")},
    **{f"preprocess.clean{f'.{setting}' if setting else ''}": {"channels": 3} for setting in ("", *CLEANING)},
}
ALONE = {
    "ingest.source.url",
    "ingest.source.query",
    "ingest.source.bytes_column",
    "ingest.source.pixel_columns",
    "train.teacher",
    "train.start_from",
}
"""Settings that exclude others."""
FIXED = {"preprocess.augment.none.copies"}
"""Settings with a single allowed value."""


def knobs() -> list[Knob]:
    """Returns every key of every section and of every option file."""
    found = []
    params = read_params(ROOT / "params.yaml")
    for stage in schemas(CONF):
        default = CONF / stage / "default.yaml"
        section = yaml.safe_load(default.read_text())
        section.pop("defaults", None)
        for key, value in section.items():
            if isinstance(value, dict):
                others = [{inner: other_than(f"{stage}.{key}.{inner}", given)} for inner, given in value.items()]
            else:
                others = [other_than(f"{stage}.{key}", value)]
            found += [Knob(stage, key, "", "", other) for other in others]
        for choice, options in CHOICES.items():
            if not choice.startswith(f"{stage}."):
                continue
            key = choice.removeprefix(f"{stage}.")
            chosen = params.get(stage, {}).get(key)
            found += [Knob(stage, key, "", "", option) for option in options if option != chosen]
            for option in options:
                content = yaml.safe_load((CONF / stage / key / f"{option}.yaml").read_text())
                for setting, value in content.items():
                    name = f"{choice}.{option}.{setting}"
                    if setting != "name" and name not in FIXED:
                        found.append(Knob(stage, key, option, setting, other_than(name, value)))
    return found


def other_than(name: str, value: Any) -> Any:
    """Returns an allowed value that is not `value`."""
    parts = name.split(".")
    for begin in range(len(parts)):
        if (end := ".".join(parts[begin:])) in OTHER:
            return OTHER[end]
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case float():
            return value / 2 if value else 0.25
    raise AssertionError(f"{name}: say in OTHER which other value there is than {value!r}")


def together(knobs: list[Knob]) -> list[list[Knob]]:
    """Groups knobs that can be set at the same time, since composing takes longer than the checks themselves."""
    groups: list[tuple[dict[str, dict[str, Any]], list[Knob]]] = []
    for knob in knobs:
        section = knob.section()
        for params, group in groups:
            closed = any(other.composed in ALONE for other in [knob, *group] if other.stage == knob.stage)
            if not closed and _fits(params.setdefault(knob.stage, {}), section):
                break
        else:
            params, group = {knob.stage: {}}, []
            groups.append((params, group))
        merge(params[knob.stage], section)
        group.append(knob)
    return [group for _, group in groups]


def _fits(there: dict[str, Any], section: dict[str, Any]) -> bool:
    for key, value in section.items():
        if key in there and isinstance(value, dict) and isinstance(there[key], dict):
            if not _fits(there[key], value):
                return False
        elif key in there and there[key] != value:
            return False
    return True


def merge(there: dict[str, Any], section: dict[str, Any]) -> None:
    """Merges a section into another, setting by setting for options."""
    for key, value in section.items():
        if isinstance(value, dict) and isinstance(there.get(key), dict):
            merge(there[key], value)
        else:
            there[key] = dict(value) if isinstance(value, dict) else value
