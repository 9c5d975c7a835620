"""Creation of a project: inspect the images, choose settings, check them, and write the files."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sightline.config.compose import compose, saved_overrides, typed
from sightline.config.location import conf_folder
from sightline.config.params import parse_yaml
from sightline.config.sections import check
from sightline.core.errors import ConfigError
from sightline.project_setup import budget, params_file, scaffold
from sightline.project_setup.choice import Choice, Situation
from sightline.project_setup.interpretations import Interpretation, interpretations
from sightline.project_setup.machine import Machine, this_machine
from sightline.project_setup.pace import Workload, measure_pace, reading_pace
from sightline.project_setup.recognition import set_name
from sightline.project_setup.rules import choose_settings
from sightline.project_setup.set_fingerprint import Fingerprint, examine_source
from sightline.stages.ingest.config import IngestConfig

_PATHS = ("ingest.path", "ingest.labels", "ingest.unknown", "train.teacher", "train.start_from")
"""Settings that name files or folders; those given relative to here are made absolute: the project is elsewhere."""


def first(possible: list[Interpretation]) -> Interpretation:
    """Returns the most likely interpretation."""
    return possible[0]


@dataclass(frozen=True)
class ProjectPlan:
    """A project before it is written.

    Attributes:
        images: The fingerprint of the images, which the choices depend on.
        machine: The machine, which they also depend on.
        chosen: The settings by key, such as `train.lr`, each with its reason.
        given: The settings that were not chosen by the rules.
        notes: Remarks for the user on the time budget.
    """

    images: Fingerprint
    machine: Machine
    chosen: dict[str, Choice]
    given: dict[str, Choice]
    notes: Sequence[str] = ()

    def instead(self, key: str, value: Any) -> dict[str, Choice]:
        """Returns the settings that result if one of them has another value."""
        return choose_settings(self.images, self.machine, {**self.given, key: Choice(value, "the other")})


def plan(
    source: str,
    words: Sequence[str] = (),
    ask: Callable[[list[Interpretation]], Interpretation] = first,
    seconds: float | None = None,
) -> ProjectPlan:
    """Inspects a source of images and chooses the settings of a project.

    Args:
        source: A folder, an archive, a list, a URL, or a source's name.
        words: Settings given by the user, such as `train.lr=0.001`.
        ask: Called with the interpretations, most likely first, if there are several; returns the right one.
        seconds: Seconds that `dvc repro` may take on this machine; None for no limit.

    Raises:
        UserError: If the source cannot be read, no model can be trained on it, or a setting is invalid.
    """
    given = _given(words)
    possible = interpretations(source)
    reading = ask(possible) if len(possible) > 1 else possible[0]
    knobs = _merged(_absolute(reading.knobs), _section(given, "ingest"))
    conf = conf_folder()
    composed = compose(saved_overrides({"ingest": knobs}, conf), conf)
    ingest = typed(IngestConfig, composed.ingest, "ingest")
    given = {key: choice for key, choice in given.items() if not key.startswith("ingest.")}
    given |= {f"ingest.{key}": Choice(value, reading.words) for key, value in knobs.items()}
    notes: list[str] = []
    with tempfile.TemporaryDirectory(prefix="sightline-init-") as folder:
        raw, processed = Path(folder, "raw"), Path(folder, "processed")
        raw.mkdir()
        images = examine_source(ingest, raw)
        machine = this_machine()
        given = {"evaluate.title": Choice(set_name(source), "the dataset's name in the report"), **given}
        chosen = choose_settings(images, machine, given)
        if seconds is not None:
            processed.mkdir()
            one_more = reading_pace(ingest, Path(folder))
            pace = measure_pace(raw, _nested(chosen), processed, one_more)
            situation = Situation(images, machine, chosen)
            batch_size = int(chosen["train.batch_size"].value)
            work = Workload(images.images, situation.training, situation.validating, situation.testing, batch_size)
            fitted = budget.within_budget(chosen, pace, work, seconds)
            chosen = choose_settings(images, machine, {**fitted, **given})  # that depend on the epochs
            chosen = {key: budget.without_slower(choice) for key, choice in chosen.items()}
            notes = budget.budget_lines(chosen, pace, work, seconds)
    check(compose(saved_overrides(_nested(chosen), conf), conf))
    return ProjectPlan(images, machine, chosen, given, notes)


def write_project(plan: ProjectPlan, folder: Path) -> list[str]:
    """Writes a project; returns messages about anything that could not be done."""
    return scaffold.make_project(folder, params_file.params_text(plan.chosen), _readme(plan))


def _absolute(knobs: Mapping[str, Any]) -> dict[str, Any]:
    path = knobs.get("path")
    return dict(knobs) if path is None else {**knobs, "path": os.path.abspath(path)}  # noqa: PTH100 - keeps links


def _merged(found: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the found settings overridden by the given ones; mappings (`source_options`) are merged by key."""
    both = {key: {**found[key], **given[key]} for key in found.keys() & given.keys() if isinstance(given[key], dict)}
    return {**found, **given, **both}


def _given(words: Sequence[str]) -> dict[str, Choice]:
    """Returns the command line's settings by key; `ingest.source_options.layout` sets one entry of a mapping."""
    given: dict[str, Choice] = {}
    for word in words:
        key, equals, value = word.lstrip("+").replace("/", ".").partition("=")
        parts = key.split(".")
        if not equals or len(parts) not in (2, 3):
            raise ConfigError(f"{word}: not of the form section.key=value, such as train.lr=0.001")
        name, content = ".".join(parts[:2]), parse_yaml(value)
        if len(parts) == 3:
            before = given[name].value if name in given else {}
            content = {**before, parts[2]: content}
        if name in _PATHS and isinstance(content, str) and os.path.lexists(content):
            content = os.path.abspath(content)  # noqa: PTH100 - keeps links
        given[name] = Choice(content, "given by hand")
    return given


def _section(given: Mapping[str, Choice], section: str) -> dict[str, Any]:
    return {key.partition(".")[2]: choice.value for key, choice in given.items() if key.startswith(f"{section}.")}


def _nested(chosen: Mapping[str, Choice]) -> dict[str, dict[str, Any]]:
    sections = {key.partition(".")[0] for key in chosen}
    return {name: {k: v for k, v in _section(chosen, name).items() if v != {}} for name in sections}


def _readme(plan: ProjectPlan) -> str:
    few = plan.images.images < 300
    folds = "for k in 1 2 3 4 5; do dvc exp run -S preprocess.fold=\"'$k of 5'\"; done"
    advice = (
        f"## Few images\n\nWith {plan.images.images} images, a split says little. Five folds test each image once:\n\n"
        f"```console\n$ {folds}\n```\n"
        if few
        else ""
    )
    opener = f"{'open' if sys.platform == 'darwin' else 'xdg-open'} reports/report.html"
    return f"""\
# Image recognition: {", ".join(list(plan.images.classes)[:6])}{" ..." if len(plan.images.classes) > 6 else ""}

```console
$ sightline run                  # dvc repro: trains, evaluates, explains, exports
$ {opener:<31}# how good the model is, how certain that is, where it is wrong
$ sightline predict models/bundle photo.jpg
$ mlflow ui                      # every run
```

`params.yaml` contains the settings; each line says why it was chosen. To see all others with their defaults, run
`python -m sightline.stages train --cfg job`.

{advice}"""
