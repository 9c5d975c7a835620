"""A stage's script: what it gets, sweeps, one line for a bad command line, one run of a stage at a time."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from sightline.config import stage_runner
from sightline.config.compose import ConfigError, compose, compose_with, read_params
from sightline.config.removals import without
from sightline.stages.evaluate.config import EvaluateConfig

ROOT = Path(__file__).parents[2]


class Run:
    """Calls `stage_main` as a script's last line does, in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.calls: list[tuple[EvaluateConfig, stage_runner.Context]] = []
        self.check: Callable[[DictConfig], None] | None = None
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, *arguments: str) -> tuple[int, str]:
        """Returns the exit code and what was written to standard error."""
        self._monkeypatch.setattr(sys, "argv", ["pipeline/evaluate.py", *arguments])
        self._monkeypatch.delenv("DVC_STAGE", raising=False)
        self._monkeypatch.setenv("HYDRA_FULL_ERROR", "0")  # and back at the end, since Hydra is run with it
        GlobalHydra.instance().clear()
        try:
            stage_runner.stage_main("evaluate", EvaluateConfig, self._keep, self.check)
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            GlobalHydra.instance().clear()
        return code, self._capsys.readouterr().err

    def _keep(self, section: EvaluateConfig, context: stage_runner.Context) -> float:
        self.calls.append((section, context))
        return 0.5


@pytest.fixture
def run(project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    yield Run(monkeypatch, capsys)
    GlobalHydra.instance().clear()


def test_a_stage_gets_its_section_and_where_it_stands(run: Run) -> None:
    assert run() == (0, "")
    (section, context), *rest = run.calls
    assert not rest
    assert section.gallery == read_params()["evaluate"]["gallery"]
    assert context.root == context.output == Path()
    assert context.overrides == ()
    assert context.config.train.model.name == read_params()["train"]["model"]


def test_command_line_words_in_any_order_beat_params(run: Run, project: Path) -> None:
    (project / "params.yaml").write_text("evaluate: {gallery: 11, top_k: 3}\n")
    for words in (["evaluate.gallery=7"], ["evaluate.gallery=9", "evaluate.gallery=7"], ["++evaluate.gallery=7"]):
        assert run(*words) == (0, "")
        section, context = run.calls[-1]
        assert (section.gallery, section.top_k) == (7, 3)
        assert context.overrides == (words[-1],)


@pytest.mark.parametrize(
    "words",
    [["~evaluate.gallery"], ["~evaluate.gallery", "evaluate.top_k=4"]],
    ids=" ".join,
)
def test_a_setting_that_is_taken_out_has_the_default(run: Run, project: Path, words: list[str]) -> None:
    (project / "params.yaml").write_text("evaluate: {gallery: 11, top_k: 3}\n")
    assert run(*words)[0] == 0
    section, context = run.calls[-1]
    default = yaml.safe_load((project / "conf/evaluate/default.yaml").read_text())["gallery"]
    assert (section.gallery, section.top_k) == (default, 4 if len(words) > 1 else 3)
    assert context.overrides == (("evaluate.top_k=4",) if len(words) > 1 else ())


def test_a_verb_takes_settings_out_as_a_script_does(project: Path) -> None:
    params = {"train": {"lr": 0.25, "model": "dense", "model_options": {"hidden": [8]}}}
    composed = compose_with(params, ["~train.lr", "train.seed=3", "~train.model_options.hidden"])
    assert composed.train.lr == compose([]).train.lr
    assert (composed.train.model.name, composed.train.seed) == ("dense", 3)
    assert composed.train.model.hidden == compose(["train/model=dense"]).train.model.hidden


@pytest.mark.parametrize(
    ("word", "left"),
    [
        ("~train.model", {"model_options": {"width": 8, "depth": 2}, "lr": 1}),
        ("~train/model", {"model_options": {"width": 8, "depth": 2}, "lr": 1}),
        ("~train.model.width", {"model": "cnn", "model_options": {"depth": 2}, "lr": 1}),
        ("~train.model_options.width", {"model": "cnn", "model_options": {"depth": 2}, "lr": 1}),
        ("~train.model_options", {"model": "cnn", "lr": 1}),
        ("~train.lr", {"model": "cnn", "model_options": {"width": 8, "depth": 2}}),
        ("~train", None),
    ],
)
def test_what_is_taken_out_is_named_as_params_or_hydra_has_it(word: str, left: dict[str, object] | None) -> None:
    params = {"train": {"model": "cnn", "model_options": {"width": 8, "depth": 2}, "lr": 1}}
    assert without(params, [word], ROOT / "conf") == ({} if left is None else {"train": left})
    assert len(params["train"]) == 3


def test_a_sweep_is_given_to_its_own_program(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    class Given(Exception):
        pass

    def execv(program: str, words: list[str]) -> None:
        raise Given(words[1:])

    monkeypatch.setattr(os, "execv", execv)
    with pytest.raises(Given) as given:
        run("-m", "evaluate.gallery=1,2")
    assert given.value.args == (["-m", "sightline.stages", "sweep", "-m", "evaluate.gallery=1,2"],)
    assert not run.calls


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["evaluate.gallery=1,2"], ["evaluate.gallery", "needs the flag -m"]),
        (["evaluate.gallery=range(1,3)"], ["evaluate.gallery", "needs the flag -m"]),
        (["evaluate.gallery=201"], ["evaluate.gallery: 201 is not between 0 and 200"]),
        (["evaluate.gallery=x"], ["evaluate.gallery", "'x'"]),
        (["train/model=cnn"], ["train.model: a setting of train, which does not run here"]),
        (["evaluate.galery=1"], ["evaluate.galery: unknown key", "did you mean 'gallery'?"]),
        (["evaluate.gallery=1", "hydra.mode=MULTIRUN"], ["hydra.mode: a sweep needs the flag -m"]),
        (["evaluate.gallery=1", "word"], ["word: not of the form key=value"]),
        (["word"], ["word: not of the form key=value"]),
        (
            ["~evaluate.batch_size"],
            ["~evaluate.batch_size: params.yaml does not set evaluate.batch_size, so"],
        ),
        (["~evaluate.gallery.x"], ["~evaluate.gallery.x: params.yaml does not set evaluate.gallery.x"]),
        (["~evaluate.gallery=3"], ["~evaluate.gallery=3: to remove a setting, give only its name, ~evaluate.gallery"]),
        (["~train.lr"], ["train.lr: a setting of train", "dvc exp run -S '~train.lr' (or"]),
        (["evaluate=null"], ["evaluate: no option"]),
    ],
)
def test_a_bad_command_line_is_one_line_before_any_work(
    run: Run, project: Path, words: list[str], parts: list[str]
) -> None:
    before = sorted(project.rglob("*"))
    code, output = run(*words)
    assert code == 2
    assert output.startswith("evaluate: ")
    assert output.count("\n") == 1
    for part in parts:
        assert part in output
    assert not run.calls
    assert sorted(project.rglob("*")) == before


def test_a_fault_of_the_machine_is_one_line_and_one_of_the_program_a_traceback(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> float:
        raise OSError(errno.EIO, "Input/output error", "data/raw/x.parquet")

    def bug(*_: object) -> float:
        raise KeyError("x")

    monkeypatch.setattr(run, "_keep", full)
    code, output = run()
    remedy = "see what `dmesg` says about it, or work in a copy of the project elsewhere"
    assert output == f"evaluate: data/raw/x.parquet: the disk reports an error: {remedy}\n"
    assert code == 2
    monkeypatch.setattr(run, "_keep", bug)
    with pytest.raises(KeyError, match="x"):
        run()


@pytest.mark.parametrize(
    ("words", "key", "command"),
    [
        (["preprocess.size=32"], "preprocess.size", "dvc exp run -S preprocess.size=32"),
        (
            ["evaluate.gallery=1", "ingest/source=folder", "ingest.path='a b'"],
            "ingest.source",
            """dvc exp run -S ingest.source=folder -S 'ingest.path='"'"'a b'"'"''""",
        ),
        (["ingest.source=folder"], "ingest.source", "dvc exp run -S ingest.source=folder"),
        (["preprocess.val_fraction=0.3"], "preprocess.val_fraction", "dvc exp run -S ++preprocess.val_fraction=0.3"),
        (["train.model.width=8"], "train.model.width", "dvc exp run -S ++train.model_options.width=8"),
        (["++train.model_options.width=8"], "train.model.width", "dvc exp run -S ++train.model_options.width=8"),
        (["hydra.verbose=true", "+export.x=1"], "export.x", "dvc exp run -S ++export.x=1"),
    ],
)
def test_another_stages_knobs_are_refused_with_the_command_that_does_it(
    run: Run, project: Path, words: list[str], key: str, command: str
) -> None:
    before = sorted(project.rglob("*"))
    line = f"{key}: a setting of {key.split('.')[0]}, which does not run here; instead: {command} (or set it in "
    assert run(*words) == (2, f"evaluate: {line}params.yaml and run dvc repro)\n")
    assert not run.calls
    assert sorted(project.rglob("*")) == before


def test_what_a_stage_checks_of_the_whole_configuration_ends_it(run: Run) -> None:
    def check(config: DictConfig) -> None:
        raise ConfigError(f"evaluate.gallery: {config.evaluate.gallery} is too many")

    run.check = check
    assert run("evaluate.gallery=7") == (2, "evaluate: evaluate.gallery: 7 is too many\n")
    assert not run.calls


def test_hydras_own_flags_and_settings_are_its_matter(run: Run) -> None:
    assert run("--cfg", "job", "evaluate.gallery=7")[0] == 0
    assert not run.calls
    code, line = run("hydra.nowhere=1")
    assert code == 2
    assert line.startswith("evaluate: ")
    assert "nowhere" in line
    assert line.count("\n") == 1


def test_the_lock_is_held_by_the_first_of_processes_that_work_together(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sightline.core import files

    monkeypatch.setattr(stage_runner.distributed, "rank", lambda: 1)
    with files.lock("evaluate"):
        assert run() == (0, "")
    assert len(run.calls) == 1


def test_two_of_a_stage_at_once(run: Run, project: Path) -> None:
    from sightline.core import files

    with files.lock("evaluate"):
        code, output = run()
    assert code == 2
    assert output == f"evaluate: evaluate is already running here (process {os.getpid()}): wait for it, or stop it\n"
    assert not run.calls
    assert run() == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "words", "parts"),
    [
        ("train", ["train.lerning_rate=1"], ["train: train.lerning_rate: unknown key", "lr"]),
        ("ingest", ["ingest/source=disk"], ["ingest: ingest.source: no option 'disk'", "digits", "folder"]),
        ("preprocess", ["preprocess.size=big"], ["preprocess: preprocess.size", "'big'", "Integer"]),
        ("watch", ["ingest.max_rejected=2"], ["watch: ingest.max_rejected: must be a share from 0 to 1, not 2"]),
        ("evaluate", None, ["evaluate: params.yaml is missing"]),
    ],
)
def test_real_processes_end_with_code_2_and_one_line(
    project: Path, module: str, words: list[str] | None, parts: list[str]
) -> None:
    if words is None:
        (project / "params.yaml").unlink()
    before = sorted(project.rglob("*"))
    command = [sys.executable, "-m", f"pipeline.{module}", *(words or [])]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    for part in parts:
        assert part in done.stderr
    assert sorted(project.rglob("*")) == before
