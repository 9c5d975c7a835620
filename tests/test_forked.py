"""Commands in forks: which they are, and that one ends as a process of its own does."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from tests import command_server, forked


@pytest.mark.parametrize(
    ("command", "variables", "in_a_fork"),
    [
        ("python -m pipeline.train train.lr=1", (), True),
        ("dvc repro train", (), True),
        ("dvc exp run --name faster --set-param train.lr=1", (), True),
        ("sightline check --json", ("PYTHONDONTWRITEBYTECODE",), True),
        ("dvc repro --allow-missing", (), False),  # a flag that `watch` reads from its parent
        ("dvc repro", ("PYTHONHASHSEED",), False),
        ("python -m pipeline.sweep -m train.lr=1,2", (), False),
        ("git commit", (), False),
    ],
)
def test_commands_that_run_in_forks(
    command: str, variables: tuple[str, ...], in_a_fork: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forked, "enabled", True)
    assert forked.can_run(command.split(), variables) == in_a_fork
    monkeypatch.setattr(forked, "enabled", False)
    assert not forked.can_run(command.split(), variables)


def test_what_the_server_imports_is_installed() -> None:
    modules = {*command_server.OF_ALL, *command_server.OF_DVC, *command_server.OF_STAGES}
    assert [name for name in modules if importlib.util.find_spec(name.partition(".")[0]) is None] == []


def test_a_command_has_its_own_code_environment_and_exit_code(tmp_path: Path) -> None:
    (package := tmp_path / "pipeline").mkdir()
    (package / "__init__.py").touch()
    (package / "watch.py").write_text(
        "import atexit, os, sys\n"
        "atexit.register(print, 'at the end')\n"
        "print(*sys.argv[1:], os.environ['X'], os.getcwd(), 'sightline' in sys.modules)\n"
        "sys.exit(3)\n"
    )
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": "", "X": "x"}
    code, printed = forked.run(["python", "-m", "pipeline.watch", "a=1"], tmp_path, environment, 60)
    assert (code, printed.splitlines()) == (3, [f"a=1 x {tmp_path} False", "at the end"])
    (package / "watch.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    assert forked.run(["python", "-m", "pipeline.watch"], tmp_path, environment, 60) == (-9, "")
