"""The tutorial's commands: each is one that there is, with options and settings that it takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click import Context, UsageError
from typer.main import get_command

from sightline.cli import app
from sightline.config.compose import compose, selecting

ROOT = Path(__file__).parents[1]
TUTORIAL = (ROOT / "docs/tutorial.md").read_text()
COMMANDS = re.findall(r"^\$ (.+)$", "\n".join(re.findall(r"```console\n(.*?)```", TUTORIAL, re.DOTALL)), re.MULTILINE)
INLINE = re.findall(r"`(sightline [^`]+)`", TUTORIAL)


def settings(words: list[str]) -> list[str]:
    return [word for word in words if re.fullmatch(r"[a-z_./]+=\S+", word)]


@pytest.mark.parametrize("command", [*COMMANDS, *INLINE])
def test_a_command_is_one_that_there_is(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    program, *words = shlex.split(command)
    assert program in ("sightline", "cd", "dvc"), command
    if program == "sightline":
        verb, *arguments = words
        commands = get_command(app).commands  # type: ignore[attr-defined]
        assert verb in commands
        try:
            commands[verb].make_context(verb, arguments, parent=Context(get_command(app)))
        except UsageError as error:
            pytest.fail(f"{command}: {error.format_message()}")
    if program == "dvc":
        assert words[:2] == ["exp", "run"]
    if changes := settings(words):
        compose([selecting(word) for word in changes])


def test_the_tutorial_walks_from_a_folder_to_a_server() -> None:
    verbs = [shlex.split(command)[1] for command in COMMANDS if command.startswith("sightline")]
    assert verbs[:2] == ["init", "run"]
    assert {"rejected", "preview", "runs", "predict", "serve", "promote", "lineage"} <= set(verbs)
    assert verbs.index("promote") < verbs.index("lineage")
