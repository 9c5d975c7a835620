"""Campaign of flipped bits in every kind of file of a project, which `sightline verify` and readers must detect."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import shlex
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import yaml

from sightline.core.errors import UserError
from sightline.datasets.corrections import Correction, CorrectionFile, ReviewDecision
from sightline.datasets.raw_shard_file import read_columns
from sightline.doctor import stored_files
from sightline.predict.bundle import Bundle
from tests.faults.campaign import KNOBS
from tests.faults.stage_faults import Fault, FaultyStage, build, digests, replace_tree
from tests.pipeline import project as projects
from tests.pipeline.project import STAGES, stages

CHECKPOINT, CACHE, CORRECTIONS, BUNDLE = "checkpoints", "DVC's cache", "data/corrections.csv", "models/bundle"
REFUSED, HARMLESS, EDIT, UNREAD = "refused", "made no difference", "taken for an edit", "read by no stage"
MENDED = "mended by the remedy"


@dataclass(frozen=True)
class Flip:
    """A flipped bit."""

    kind: str
    path: Path
    bit: int

    def apply(self) -> None:
        """Flips the bit, or restores it; size, mtime and inode, by which DVC identifies a file, stay the same."""
        about = self.path.stat()
        self.path.chmod(0o644)
        with self.path.open("r+b") as stream:
            stream.seek(self.bit // 8)
            (byte,) = stream.read(1)
            stream.seek(self.bit // 8)
            stream.write(bytes([byte ^ 1 << self.bit % 8]))
        self.path.chmod(about.st_mode)
        os.utime(self.path, ns=(about.st_atime_ns, about.st_mtime_ns))


@dataclass(frozen=True)
class Outcome:
    """The outcome of a flip that `sightline verify` reported: how the file's reader handled it, and what was wrong."""

    flip: Flip
    taken: str
    problem: str


class FlipCampaign:
    """A reproduced project, with corrections in git and the checkpoints of an interrupted training.

    Args:
        folder: An empty folder for the project and all other files.
        mended_every: For the first flip of each kind and every `mended_every`-th of all, the suggested remedy is run
            instead of a reader.
        last: The last stage to run, from those before `train`; None for all stages, and the checkpoints.
    """

    def __init__(self, folder: Path, mended_every: int = 10, last: str | None = None) -> None:
        self.folder, self.mended_every = folder, mended_every
        ran = STAGES[: STAGES.index(last) + 1] if last else STAGES
        self.project = projects.make(folder / "project", KNOBS)
        self.root = self.project.root
        self.runs: dict[str, FaultyStage] = {}
        self.readers: dict[str, list[str]] = {}
        self.stages = {stage: settings for stage, settings in stages().items() if stage in ran}
        for stage, settings in self.stages.items():
            for path in settings.get("deps", []):
                self.readers.setdefault(path, []).append(stage)
        used = {stage for found in self.readers.values() for stage in found}
        self.readers |= {CORRECTIONS: ["ingest"], CHECKPOINT: ["train"], CACHE: sorted(used - {"ingest"})}
        self.project.repro("ingest")
        self._correct()
        self.project.repro(*[last] if last else [])
        self.project.commit("reproduced")
        self.library = build(folder)
        if last is None:
            self._interrupt_training()
        self.saved = folder / "saved"
        shutil.copytree(self.root, self.saved, symlinks=True)
        self.good = digests(self.project)
        self.checkpoints = self._checkpoints()

    def _correct(self) -> None:
        (shard,) = (self.root / "data/raw").glob("shard-*.parquet")
        rows = read_columns(shard).select(["sha256", "label"]).to_pylist()
        accepted = [Correction(row["sha256"], ReviewDecision.ACCEPT, row["label"], who="Ann") for row in rows[:20]]
        changed = Correction(rows[20]["sha256"], ReviewDecision.LABEL, rows[20]["label"], rows[21]["label"], who="Ann")
        CorrectionFile(self.root / CORRECTIONS).append([*accepted, changed])

    def _interrupt_training(self) -> None:
        """Makes the end of the train stage fail, so that its checkpoints remain."""
        runs = self._stage("train")
        assert runs.run().code == 0
        for nth in range(runs.counts["rename"], 0, -1):
            runs.run(Fault("rename", nth, errno.EIO))
            if self._checkpoints():
                return
        raise AssertionError("no call left checkpoints behind")

    def _checkpoints(self) -> list[Path]:
        return sorted(self.root.glob(".sightline/**/*.ckpt"))

    def _stage(self, stage: str) -> FaultyStage:
        if stage not in self.runs:
            self.runs[stage] = FaultyStage(self.project, stage, self.library, self.folder, DVC_STAGE=stage)
        return self.runs[stage]

    def close(self) -> None:
        """Ends the processes."""
        for runs in self.runs.values():
            runs.close()

    def run(self, flips: int, seed: int) -> Iterator[Outcome]:
        """Flips one bit after the other, each in an intact project: kinds in turn, file and bit at random."""
        draw = random.Random(seed)
        files = self._files()
        kinds: Counter[str] = Counter()
        with contextlib.chdir(self.root), mock.patch.dict(os.environ, self.project.environment()):
            for number in range(flips):
                kind = list(files)[number % len(files)]
                path = draw.choice(files[kind])
                flip = Flip(kind, path, draw.randrange(8 * path.stat().st_size))
                kinds[kind] += 1
                yield self._tried(flip, draw, kinds[kind] == 1 or number % self.mended_every == 0)

    def _files(self) -> dict[str, list[Path]]:
        """Returns the non-empty files by kind: an output of a stage, or another kind of file that is kept."""
        kinds = {out: self.root / out for settings in self.stages.values() for out in _outputs(settings)}
        files = {
            kind: sorted(p for p in (place.rglob("*") if place.is_dir() else [place]) if p.is_file())
            for kind, place in kinds.items()
        }
        lock = yaml.safe_load(self.project.read("dvc.lock"))["stages"]
        cache = self.root / ".dvc/cache/files/md5"
        used = {str(out["md5"]) for made in lock.values() for out in made["outs"]}
        files[CACHE] = [path for digest in sorted(used) if (path := cache / digest[:2] / digest[2:]).is_file()]
        files[CHECKPOINT] = self._checkpoints()
        files[CORRECTIONS] = [self.root / CORRECTIONS]
        return {kind: found for kind, paths in files.items() if (found := [p for p in paths if p.stat().st_size])}

    def _tried(self, flip: Flip, draw: random.Random, mends: bool) -> Outcome:
        flip.apply()
        damaged = flip.path.read_bytes()
        _, found = stored_files.damages()
        problem = "" if [_place(each.path) for each in found] == [flip.path] else f"verify says {list(map(str, found))}"
        if problem:
            taken = ""
        elif mends:
            taken, problem = MENDED, self._mend(found[0].remedy)
        else:
            taken, problem = self._read(flip, draw)
        if flip.path.exists() and flip.path.read_bytes() == damaged:
            flip.apply()
        if digests(self.project) != self.good or self._checkpoints() != self.checkpoints:
            replace_tree(self.saved, self.root)
        return Outcome(flip, taken, problem)

    def _read(self, flip: Flip, draw: random.Random) -> tuple[str, str]:
        """Runs one of the file's readers; returns how it handled the flip, and what was wrong."""
        if flip.kind == BUNDLE:
            try:
                Bundle.load(self.root / BUNDLE, threads=1)
            except UserError as error:
                return REFUSED, "" if "\n" not in str(error) else f"more than a line: {error}"
            return "", f"{flip.path.name} was loaded"
        if not (readers := self.readers.get(flip.kind)):
            return UNREAD, ""
        stage = draw.choice(readers)
        ran = self._stage(stage).run()
        text = f"{stage} ended with {ran.code}:\n{ran.output}"
        if "Traceback (most recent" in ran.output:
            return "", text
        name = str(flip.path.relative_to(self.root))
        after = digests(self.project)
        changed = [path for path in self.good.keys() | after.keys() if self.good.get(path) != after.get(path)]
        if ran.code == 0 and flip.kind == CORRECTIONS and name not in ran.output:
            return EDIT, ""
        if changed not in ([], [name]):
            return "", f"{changed[:3]} changed: {text}"
        if ran.code == 0:
            return HARMLESS, ""
        lines = [line for line in ran.output.splitlines() if line.startswith(f"{stage}: ")]
        return REFUSED, "" if ran.code == 2 and lines and name in lines[-1] else f"not a line with its name: {text}"

    def _mend(self, remedy: str) -> str:
        """Runs a suggested remedy; returns what was wrong with it. `dvc repro` runs in a fork, as in other tests."""
        start, _, last = remedy.rpartition(" && ")
        typed = start if last.startswith("dvc repro") else remedy
        done = subprocess.run(typed, shell=True, capture_output=True, text=True)  # noqa: S602 - as a user would type it
        if not done.returncode and typed is start:
            self.project.check(*shlex.split(last))
        left = stored_files.damages()[1]
        return f"{remedy}\n{done.stdout}{done.stderr}\nand then: {left}" if done.returncode or left else ""


def _place(path: Path) -> Path:
    return Path.cwd() / path


def _outputs(settings: dict[str, list[str | dict[str, object]]]) -> Iterator[str]:
    for out in [*settings.get("outs", []), *settings.get("metrics", [])]:
        yield out if isinstance(out, str) else next(iter(out))
