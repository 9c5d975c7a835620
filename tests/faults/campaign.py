"""Campaign of failing calls: a small project's stages, run with one call failing, then again without."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.faults.stage_faults import CALLS, ERRORS, Fault, FaultyStage, build, complaint, digests, replace_tree
from tests.pipeline import project as projects
from tests.pipeline.project import STAGES

KNOBS = {
    "ingest__limit": 60,
    "train__max_epochs": 1,
    "train__model": "dense",
    "baseline__methods": ["majority", "pixels_logreg"],
}
NEXT_LIMIT = 64
"""Number of images of the disturbed runs; their outputs differ from the earlier ones, so a mixture can be detected."""


@dataclass(frozen=True)
class Finding:
    """A flaw in how a stage handled a fault."""

    stage: str
    fault: Fault
    problem: str
    printed: str


class Campaign:
    """A project that has been run and whose images have changed since.

    Args:
        folder: An empty folder for the project and all other files.
        only: The stages to disturb; later stages are not run.
    """

    def __init__(self, folder: Path, only: Sequence[str] = STAGES) -> None:
        self.folder, self.only = folder, only
        self.stages = STAGES[: max(STAGES.index(stage) for stage in only) + 1]
        self.library = build(folder)
        self.project = projects.make(folder / "project", KNOBS)
        for stage in self.stages:
            self._undisturbed(stage)
        self.project.set(ingest__limit=NEXT_LIMIT)

    def _undisturbed(self, stage: str) -> dict[str, int]:
        runs = FaultyStage(self.project, stage, self.library, self.folder)
        try:
            ran = runs.run()
            assert ran.code == 0, ran.output
            return runs.counts
        finally:
            runs.close()

    def run(self, faults: int, seed: int) -> Iterator[tuple[str, int, list[Finding]]]:
        """Disturbs one stage after the other; each then runs undisturbed before the next one.

        Args:
            faults: Number of failing calls per stage and kind; 0 for all calls.
            seed: Seed for the choice of calls.

        Yields:
            The stage, the number of faults, and the findings.
        """
        for stage in self.stages:
            if stage in self.only:
                yield stage, *self._disturbed(stage, faults, random.Random(f"{seed} {stage}"))
            else:
                self._undisturbed(stage)

    def _disturbed(self, stage: str, faults: int, draw: random.Random) -> tuple[int, list[Finding]]:
        saved = self.folder / "saved"
        shutil.rmtree(saved, ignore_errors=True)
        shutil.copytree(self.project.root, saved, symlinks=True)
        before = digests(self.project)
        runs = FaultyStage(self.project, stage, self.library, self.folder)
        try:
            assert runs.run().code == 0
            replace_tree(saved, self.project.root)
            assert runs.run().code == 0  # the modules are imported by now, so their calls do not count
            good, counts = digests(self.project), runs.counts
            chosen = []
            for call in CALLS:
                numbers = range(1, counts[call] + 1)
                chosen += [
                    Fault(call, nth, draw.choice(ERRORS[call]))
                    for nth in (draw.sample(numbers, min(faults, len(numbers))) if faults else numbers)
                ]
            findings = []
            for fault in chosen:
                replace_tree(saved, self.project.root)
                ran = runs.run(fault)
                problem = complaint(stage, ran, before, digests(self.project), good)
                again = runs.run()
                after = digests(self.project)
                if not problem and (again.code or after != good):
                    changed = sorted(path for path in good.keys() | after.keys() if good.get(path) != after.get(path))
                    problem = f"the next run ended with {again.code}, and these are not as undisturbed: {changed[:3]}"
                if problem:
                    findings.append(Finding(stage, fault, problem, f"{ran.output}\n--- next run\n{again.output}"))
            return len(chosen), findings
        finally:
            runs.close()
