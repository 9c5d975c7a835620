"""Help of a stage's script: the stage's settings with their current values and the comments from conf/."""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from omegaconf import DictConfig, OmegaConf

from sightline.config.location import conf_folder
from sightline.config.messages import options_in

_KEY = re.compile(r"(?P<indent> *)(?P<key>\w+):(?P<value>[^#]*?)(?:#\s*(?P<comment>.*))?$")
_FLAGS = [
    ("-m, --multirun", "a sweep: try several values of a setting, such as train.lr=0.001,0.01"),
    ("--cfg job", "print the composed configuration and exit"),
    ("--hydra-help", "flags of Hydra, which composes the configuration"),
]
_PLAIN = {None: "null", True: "true", False: "false"}


class Knob(NamedTuple):
    """A key of a file in conf/: its dotted name within the file, and its comment."""

    name: str
    comment: str


def help_text(stage: str, section: str, about: str, config: DictConfig) -> str:
    """Returns the help text.

    Args:
        stage: The stage's name.
        section: Its section of the configuration.
        about: A line that describes the stage.
        config: The whole configuration, as composed with params.yaml and the command line.
    """
    conf = conf_folder() / section
    choices = {path.name: options_in(path) for path in sorted(conf.iterdir()) if path.is_dir()}
    example = next(iter(knobs(conf / "default.yaml"))).name
    lines = [
        about,
        "",
        f"Usage: python -m pipeline.{stage} [KEY=VALUE ...]",
        f"In a project of your own: python -m sightline.stages {stage} [KEY=VALUE ...]",
        "",
        *_wrapped(
            "Usually `dvc repro` runs it with the settings in params.yaml. A KEY=VALUE on this command line, such "
            f"as {section}.{example}=..., applies to this run only. The values below are those that would be used "
            "now."
        ),
    ]
    if choices:
        lines += ["", f"Choices: each option is a file in {conf}/, with its own settings"]
        lines += _rows([(f"{section}/{n}={_chosen(config, section, n)}", ", ".join(o)) for n, o in choices.items()])
    lines += ["", "Knobs"]
    lines += _rows([_row(section, knob, config) for knob in knobs(conf / "default.yaml")])
    settings = [
        _row(f"{section}.{name}", knob, config)
        for name in choices
        for knob in knobs(conf / name / f"{_chosen(config, section, name)}.yaml")
        if knob.name != "name"
    ]
    if settings:
        lines += ["", "Settings of the chosen options (in params.yaml: <choice>_options)", *_rows(settings)]
    return "\n".join([*lines, "", "Flags", *_rows(_FLAGS)])


def knobs(path: Path) -> Iterator[Knob]:
    """Yields the keys of a file in conf/, each with the comment after it or, if there is none, above it."""
    above: list[str] = []
    parents: list[tuple[int, str]] = []
    first = True
    for line in path.read_text(encoding="utf-8").splitlines():
        match = _KEY.fullmatch(line)
        if line.startswith("#"):
            above.append(line.lstrip("# "))
        elif match is None:
            above = []
        else:
            indent = len(match["indent"])
            parents = [parent for parent in parents if parent[0] < indent]
            name = ".".join([*(key for _, key in parents), match["key"]])
            comment = match["comment"] or " ".join(above if not first else [])
            above, first = [], False
            if not match["value"].strip():
                parents.append((indent, match["key"]))
            if name != "defaults" and (match["value"].strip() or comment):
                yield Knob(name, comment)


def _chosen(config: DictConfig, section: str, choice: str) -> str:
    return str(OmegaConf.select(config, f"{section}.{choice}.name", default="?"))


def _row(prefix: str, knob: Knob, config: DictConfig) -> tuple[str, str]:
    name = f"{prefix}.{knob.name}"
    if OmegaConf.is_missing(config, name) or OmegaConf.is_dict(value := OmegaConf.select(config, name)):
        return name, knob.comment
    shown = OmegaConf.to_container(value) if OmegaConf.is_list(value) else value
    return f"{name}={_PLAIN[shown] if shown is None or isinstance(shown, bool) else shown}", knob.comment


def _rows(rows: list[tuple[str, str]]) -> list[str]:
    left = min(max((len(name) for name, _ in rows), default=0) + 4, 40)
    lines = []
    for name, text in rows:
        if not text:
            lines.append(f"  {name}")
            continue
        head = f"  {name}".ljust(left)
        shown = _wrapped(text, left)
        lines += [head + shown[0].strip(), *shown[1:]] if len(head) <= left else [head, *shown]
    return lines


def _wrapped(text: str, left: int = 0) -> list[str]:
    width = min(shutil.get_terminal_size().columns, 120)
    blank = " " * left
    return textwrap.wrap(text, width, initial_indent=blank, subsequent_indent=blank, break_on_hyphens=False)
