"""The search space of a sweep: knobs with several values, in Hydra's grammar, and the settings common to all jobs."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import Glob, IntervalSweep, Override, RangeSweep
from omegaconf import DictConfig, OmegaConf

from sightline.config import option_settings
from sightline.config.compose import parse_overrides, selecting
from sightline.config.location import conf_folder
from sightline.config.messages import options_in
from sightline.config.params import parse_yaml
from sightline.core.errors import ConfigError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

DATA = ("ingest", "preprocess")
"""Sections whose knobs change the training images."""
FLAGS = ("-m", "--multirun")


@dataclass(frozen=True)
class SweptKnob:
    """A knob with several values.

    Attributes:
        key: The key in Hydra's grammar, with its sign, such as `train/model` or `++train.model.width`.
        values: The values in Hydra's grammar; the two ends of an interval.
        distribution: Optuna's distribution for numeric intervals and ranges; else None.
        interval: Whether it is an interval.
    """

    key: str
    values: tuple[str, ...]
    distribution: BaseDistribution | None = None
    interval: bool = False

    @property
    def name(self) -> str:
        """The key as in params.yaml and on command lines."""
        return option_settings.written_word(f"{self.key}=", conf_folder()).rstrip("=").lstrip("+").replace("/", ".")

    @property
    def of_data(self) -> bool:
        """Whether it changes the images."""
        return is_of_data(self.key)


@dataclass(frozen=True)
class SearchSpace:
    """All knobs of a sweep.

    Attributes:
        knobs: The swept knobs, those of the data first, because the first ones change least often in a grid.
        fixed: Words common to all jobs.
        settings: Words for the section `sweep`.
    """

    knobs: tuple[SweptKnob, ...]
    fixed: tuple[str, ...]
    settings: tuple[str, ...]

    @property
    def sections(self) -> set[str]:
        """The sections that the jobs have settings of."""
        return {section_of(word) for word in (*self.fixed, *(knob.key for knob in self.knobs))}

    @property
    def is_grid(self) -> bool:
        """Whether the number of combinations is finite."""
        return not any(knob.interval for knob in self.knobs)

    @property
    def size(self) -> int:
        """The number of combinations of a grid."""
        return math.prod(len(knob.values) for knob in self.knobs)

    def grid(self) -> Iterator[dict[str, str]]:
        """Yields every combination, {key: value}."""
        for values in itertools.product(*(knob.values for knob in self.knobs)):
            yield dict(zip((knob.key for knob in self.knobs), values, strict=True))

    def words(self, values: Mapping[str, Any]) -> list[str]:
        """Returns a job's changes to params.yaml, in command-line form.

        Args:
            values: A value for each knob, {key: value}.
        """
        return [*self.fixed, *(f"{knob.key}={drawn_value(values[knob.key])}" for knob in self.knobs)]

    def samples(self) -> Iterator[list[str]]:
        """Yields jobs that together contain every value of every knob, to be checked before any work."""
        first = {knob.key: knob.values[0] for knob in self.knobs}
        yield self.words(first)
        for knob in self.knobs:
            for value in knob.values[1:]:
                yield self.words({**first, knob.key: value})

    def present(self, config: DictConfig) -> dict[str, Any] | None:
        """Returns the knobs' values in a configuration, {key: value}; None if one is outside the search space.

        Args:
            config: The whole configuration, with the settings common to all jobs.
        """
        from optuna.distributions import CategoricalDistribution

        found: dict[str, Any] = {}
        for knob, distribution in zip(self.knobs, self.distributions(True).values(), strict=True):
            key = knob.key.lstrip("+").replace("/", ".")
            value = OmegaConf.select(config, f"{key}.name" if "/" in knob.key else key)
            if isinstance(distribution, CategoricalDistribution):
                value = next((text for text in knob.values if parse_yaml(text) == value), None)
            elif isinstance(value, bool) or not isinstance(value, int | float):
                return None
            if value is None or not distribution._contains(distribution.to_internal_repr(value)):
                return None
            found[knob.key] = value
        return found

    def distributions(self, ordered: bool) -> dict[str, BaseDistribution]:
        """Returns the knobs as Optuna's distributions.

        Args:
            ordered: Whether a range is a numeric distribution rather than a list of values.
        """
        from optuna.distributions import CategoricalDistribution

        return {
            knob.key: knob.distribution
            if knob.distribution is not None and (ordered or knob.interval)
            else CategoricalDistribution(list(knob.values))
            for knob in self.knobs
        }


def drawn_value(value: Any) -> str:
    """Returns a value as written to params.yaml; floating-point numbers have four significant digits.

    >>> drawn_value(0.0015676677195506068), drawn_value(32), drawn_value("cnn")
    ('0.001568', '32', 'cnn')
    """
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def is_of_data(word: str) -> bool:
    """Returns whether a word sets a knob that changes the images."""
    return section_of(word) in DATA


def section_of(word: str) -> str:
    """Returns the section of the setting in a word.

    >>> section_of("++train.model.width=8"), section_of("preprocess/resize=crop")
    ('train', 'preprocess')
    """
    return re.split(r"[./=]", word.lstrip("+~"), maxsplit=1)[0]


def read_words(words: Sequence[str]) -> SearchSpace:
    """Parses a sweep's command line.

    Args:
        words: The words after `python -m pipeline.sweep`.

    Raises:
        ConfigError: If a word is invalid, or no setting has several values.
    """
    plain = [word for word in words if word not in FLAGS]
    for word in plain:
        if word.startswith("-"):
            raise ConfigError(f"{word}: a sweep has no such flag; its settings are sweep.n_trials, sweep.time, ...")
    knobs: list[SweptKnob] = []
    fixed, settings = [], []
    for word in plain:
        (override,) = parse_overrides([selecting(word)])
        if override.is_hydra_override() or override.key_or_group.startswith("hydra"):
            raise ConfigError(f"{word}: Hydra's sweepers and launchers are not used; see conf/sweep/default.yaml")
        if override.key_or_group.split("/")[0].split(".")[0] == "sweep":
            if override.is_sweep_override():
                raise ConfigError(f"{word}: a setting of the sweep itself takes only one value")
            settings.append(str(override.input_line))
        elif override.is_sweep_override():
            knobs.append(_knob(override, conf_folder()))
        else:
            fixed.append(str(override.input_line))
    keys = [knob.name for knob in knobs]
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice:
        raise ConfigError(f"{twice}: appears twice on the command line")
    if not knobs:
        raise ConfigError("no setting has several values: give one a list, such as train.lr=0.001,0.003")
    return SearchSpace(tuple(sorted(knobs, key=lambda knob: not knob.of_data)), tuple(fixed), tuple(settings))


def _knob(override: Override, conf: Path) -> SweptKnob:
    value: Any = override.value()
    sign = str(override.input_line)[: len(str(override.input_line)) - len(str(override.input_line).lstrip("+"))]
    key = f"{sign}{override.get_key_element().lstrip('+')}"
    if isinstance(value, IntervalSweep):
        from optuna.distributions import FloatDistribution, IntDistribution

        log, low, high = "log" in value.tags, value.start, value.end
        if low is None or high is None or not low < high or (log and low <= 0):
            raise ConfigError(
                f"{override.input_line}: an interval needs two numbers, the lower first; on a log scale above 0"
            )
        whole = isinstance(low, int) and isinstance(high, int)
        made: BaseDistribution = (
            IntDistribution(int(low), int(high), log=log) if whole else FloatDistribution(low, high, log=log)
        )
        return SweptKnob(key, (repr(low), repr(high)), made, interval=True)
    if isinstance(value, Glob):
        options = options_in(conf / override.key_or_group)
        if not options:
            raise ConfigError(f"{override.input_line}: glob(...) is for the choice of an option")
        values = tuple(value.filter(sorted(options)))
    else:
        written = {"True": "true", "False": "false"}  # as in params.yaml
        values = tuple(dict.fromkeys(written.get(text, text) for text in override.sweep_string_iterator()))
    if not values:
        raise ConfigError(f"{override.input_line}: not a value that a sweep accepts")
    return SweptKnob(key, values, _range(value, values))


def _range(value: Any, values: tuple[str, ...]) -> BaseDistribution | None:
    if not isinstance(value, RangeSweep) or len(values) < 2:
        return None
    from optuna.distributions import FloatDistribution, IntDistribution

    numbers = sorted(map(float, values))
    step = numbers[1] - numbers[0]
    if all(number.is_integer() for number in numbers):
        return IntDistribution(int(numbers[0]), int(numbers[-1]), step=int(step))
    return FloatDistribution(numbers[0], numbers[-1], step=step)
