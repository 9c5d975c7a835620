"""A folder of images that DVC tracks, on several machines with an S3 remote, by the workflow's own steps."""

from __future__ import annotations

import logging
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.pipeline import project as projects
from tests.pipeline import workflow
from tests.pipeline.project import Project, image_diff
from tests.servers import processes
from tests.stages.ingest.helpers import picture, tree

STAGES = ("--pull", "--allow-missing", "preprocess")


def pictures(first: int, last: int) -> dict[str, bytes]:
    return {f"{'ab'[number % 2]}/{number:03}.png": picture(number) for number in range(first, last)}


def share(place: Project, origin: Path, first: int, last: int) -> None:
    """Adds images, and pushes them and the pointer to them, no result."""
    tree(place.root / "data/mine", pictures(first, last))
    place.check("dvc", "add", "data/mine")
    place.check("dvc", "push", "--quiet", "data/mine.dvc")
    place.commit(f"images {first} to {last}")
    place.check("git", "push", "--quiet", str(origin), "main")


def shards(place: Project) -> set[str]:
    return {path.name for path in (place.root / "data/raw").glob("shard-*")}


def memo(place: Project) -> set[str]:
    return {path.name for path in (place.root / ".sightline/memo/preprocess").iterdir()}


class Fetched:
    """Requests to the S3 server, as its log has them."""

    def __init__(self, log: pytest.LogCaptureFixture) -> None:
        log.set_level(logging.INFO, "werkzeug")
        self._log = log

    def files(self) -> set[str]:
        """Returns the objects fetched since the last call."""
        lines = [record.getMessage() for record in self._log.records if record.name == "werkzeug"]
        self._log.clear()
        return {found[1] for line in lines if (found := re.search(r'"GET (/shared/\S+/files/md5/\S+)', line))}


@pytest.mark.slow
@pytest.mark.full
@pytest.mark.timeout(3600)  # some forty processes, each a second or two where nothing else runs
def test_a_change_of_images_on_several_machines(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fetched, origin = Fetched(caplog), tmp_path / "origin.git"
    with processes.s3("shared"):
        here = projects.make(tmp_path / "a", {"ingest__source": "folder", "ingest__path": "data/mine"})
        here.edit("src/sightline/datasets/raw_set.py", "TARGET_ROWS = 1024", "TARGET_ROWS = 8")  # many of few images
        here.edit("src/sightline/sources/tracked_images.py", "FEWEST = 1000", "FEWEST = 100")
        here.check("dvc", "config", "cache.type", "symlink")  # as DVC advises for large sets
        here.check("dvc", "remote", "add", "--quiet", "--default", "shared", "s3://shared/set")
        subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch", "main", origin], check=True)
        kept_by_git = {
            "data/.gitignore": (projects.ROOT / "data/.gitignore").read_bytes(),
            "reports/metrics.json": b"{}\n",
        }
        tree(here.root, kept_by_git)
        share(here, origin, 0, 60)

        # A runner that is kept, from its first run on: everything is fetched and made, and the lock committed.
        there = workflow.fresh(origin, tmp_path / "b")
        ran = workflow.repro(there, base="HEAD", target="preprocess")
        assert ran[workflow.RERUN].ran == ["watch", "ingest", "preprocess"]
        assert len(fetched.files()) == 60 + 1  # the list of them
        assert workflow.commit(there, origin).code == 0
        before, worked_on = shards(there), memo(there)
        older = workflow.fresh(origin, tmp_path / "older")
        older.check("dvc", "pull", "--quiet", "--allow-missing")  # all that there is yet
        fetched.files()

        # Fifty more, by their pointer alone: no more is fetched, and what holds none of them is not preprocessed again.
        here.check("git", "pull", "--quiet", "--rebase", str(origin), "main")
        share(here, origin, 60, 110)
        there.check("git", "pull", "--quiet", str(origin), "main")
        ran = workflow.repro(there, base="HEAD~1", target="preprocess")
        assert ran[workflow.CHECK].output.startswith("ingest: data/source.json: 60 -> 110 files\n")
        assert ran[workflow.RERUN].ran == ["watch", "ingest", "preprocess"]
        assert "ingest: data/mine was missing: pulled by DVC" in ran[workflow.RERUN].output
        assert "110 images of 2 classes" in ran[workflow.RERUN].output
        assert len(fetched.files()) == 50 + 1
        changed = shards(there) - before
        assert len(changed) < len(shards(there)), "a shard at least is as it was"
        assert len(memo(there) - worked_on) == len(changed)
        assert re.search(r"^- 50 added \(a/060.png, a/062.png, ...\)$", there.read("diff.md"), re.MULTILINE)
        diff = image_diff(there)
        assert diff.pop("added") == sorted(pictures(60, 110))
        assert not any(diff.values()), diff

        # The lock is committed once. After that nothing runs, is fetched or is there to commit: here, and elsewhere.
        assert workflow.commit(there, origin).code == 0
        head = there.check("git", "rev-parse", "HEAD").output
        for place in (there, workflow.fresh(origin, tmp_path / "c")):
            assert place.repro(*STAGES).ran == ["watch"]
            assert place.check("git", "status", "--porcelain", "--untracked-files=no").output == ""
            assert workflow.commit(place, origin).code == 0
            assert place.check("git", "ls-remote", str(origin), "main").output.split()[0] == head.strip()
        assert fetched.files() == set()

        # A folder with the older results, after `git pull`: DVC would take them for those of the new lock.
        older.check("git", "pull", "--quiet", str(origin), "main")
        refused = older.command("sightline", "check")
        assert refused.code == 2
        assert "data/mine belongs to another commit than data/mine.dvc: run `dvc pull data/mine.dvc`" in refused.output
        shutil.rmtree(older.root / "data/mine")  # with which nothing but the results is older
        state = older.command("sightline", "check")
        assert state.code == 1
        assert "ingest: data/raw belongs to another commit: dvc pull restores this one's" in state.output.splitlines()
        refused = older.command("dvc", "repro", *STAGES)
        assert refused.code != 0
        assert "from an earlier dvc.lock: run `sightline repair`, then this command again" in refused.output
        assert older.check("git", "status", "--porcelain", "--untracked-files=no").output == ""
        repaired = older.check("sightline", "repair").output
        assert "data/raw belonged to another commit than dvc.lock: removed, it is still in DVC's cache" in repaired
        assert older.repro(*STAGES).ran == ["watch"]
        assert older.check("git", "status", "--porcelain", "--untracked-files=no").output == ""
        fetched.files()
        older.check("dvc", "pull", "--quiet", "data/raw")
        assert len(changed) <= len(fetched.files()) <= len(changed) + 2  # and the summary, and the list of them all

        # One image more, and a runner that starts from nothing: the others come in the shards of the last lock.
        here.check("git", "pull", "--quiet", "--rebase", str(origin), "main")
        share(here, origin, 110, 111)
        fetched.files()
        new = workflow.fresh(origin, tmp_path / "new")
        ran_there = new.repro(*STAGES)
        assert ran_there.ran == ["watch", "ingest", "preprocess"]
        assert "data/mine was missing: pulled by DVC, 110 images in shards" in ran_there.output
        raw = [path for path in (there.root / "data/raw").iterdir() if path.is_file()]
        assert len(fetched.files()) == len(raw) + 1 + 1 + 1  # the list of them, the new image, the list of all images
        assert len(shards(new) - shards(there)) <= 2
        assert new.check("dvc", "status", "data/mine.dvc").output.endswith("up to date.\n")
