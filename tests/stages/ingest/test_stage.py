"""The stage as a whole: every input in one place, the same files whatever the circumstances."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.core.errors import UserError
from sightline.core.rejection import RejectionReason
from sightline.datasets.raw_set import ImageRecord, Rejection
from sightline.sources.content import NO_MEMORY, ContentMemory
from sightline.sources.folder import FolderSource
from sightline.stages.ingest import console
from tests.stages.ingest.helpers import birds, picture, run, shared_data, tree

ROOT = Path(__file__).parents[3]


class Given:
    """A source of the records that it is given."""

    def __init__(self, *records: ImageRecord | Rejection) -> None:
        self._records = records

    def fingerprint(self, memory: ContentMemory = NO_MEMORY) -> dict[str, Any]:  # noqa: ARG002 - nothing is on disk
        return {}

    def records(self) -> Iterator[ImageRecord | Rejection]:
        yield from self._records


def some(count: int = 6, label: str = "a") -> list[ImageRecord]:
    return [ImageRecord(f"{label}{n}", picture(n), label) for n in range(count)]


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_any_order_of_arrival_gives_the_same_files(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    records = [
        *some(9, "é"),
        *some(5, "b"),
        Rejection("r", RejectionReason.MISSING, "x"),
        ImageRecord("bad", b"no", "b"),
    ]
    records += [
        ImageRecord("b1", picture(99), "b"),
        ImageRecord("b1", picture(1), "b"),
        ImageRecord("b1", picture(98), "é"),
    ]
    out = tmp_path_factory.mktemp("runs")
    straight = run(Given(*records), out / "1")
    shuffled = run(Given(*data.draw(st.permutations(records))), out / "2")
    assert straight.files == shuffled.files
    assert straight.summary["inputs"] == len(records)


def test_the_number_of_workers_changes_nothing(tmp_path: Path) -> None:
    records = [ImageRecord(f"{n:04}", picture(n) if n % 7 else b"junk", "ab"[n % 2]) for n in range(300)]
    one = run(Given(*records), tmp_path / "0", workers=0)
    assert run(Given(*records), tmp_path / "1", workers=1).files == one.files
    assert run(Given(*records), tmp_path / "3", workers=3).files == one.files


def test_nothing_of_the_place_or_time_is_written(tmp_path: Path) -> None:
    result = run(FolderSource(tree(tmp_path / "in", birds()), 2**20), tmp_path / "out")
    for name, content in result.files.items():
        assert str(tmp_path).encode() not in content, name


def test_splits_go_by_several_names(tmp_path: Path) -> None:
    names = {"a": "training", "b": "Valid", "c": "TEST", "d": "dev", "e": "other", "f": ""}
    result = run(
        Given(*(ImageRecord(i, picture(n), "x", split) for n, (i, split) in enumerate(names.items()))), tmp_path / "o"
    )
    assert {i.id: i.split for i in result.images.values()} == {
        "a": "train",
        "b": "val",
        "c": "test",
        "d": "val",
        "f": None,
    }
    assert result.rejected == {"e": "bad_split"}


def test_labels_are_renamed_merged_and_dropped(tmp_path: Path) -> None:
    mapping = tmp_path / "labels.yaml"
    mapping.write_text("a: bird\nb: bird\nc: null\nno: yes\n1: one\nnever: x\n")
    records = [*some(2, "a"), *some(2, "b"), *some(2, "c"), *some(1, "d"), *some(1, "no"), *some(1, "1")]
    result = run(Given(*records), tmp_path / "out", labels=str(mapping))
    assert result.summary["classes"] == {"bird": 4, "d": 1, "one": 1, "yes": 1}
    assert result.rejected == {"c0": "dropped_label", "c1": "dropped_label"}
    assert result.summary["unused_labels"] == ["never"]
    assert "ingest.labels names classes that the source does not have: never" in console.summary_lines(result.summary)


def test_a_labels_file_knows_one_unicode_form(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    mapping = tmp_path / "labels.yaml"
    mapping.write_text(f"{decomposed}: x{decomposed}\n")
    result = run(Given(*some(2, composed), *some(1, "b")), tmp_path / "out", labels=str(mapping))
    assert result.summary["classes"] == {"b": 1, f"x{composed}": 2}
    mapping.write_text(f"{decomposed}: x\n{composed}: y\n")
    with pytest.raises(UserError, match="in two Unicode forms, to two labels"):
        run(Given(*some()), tmp_path / "out2", labels=str(mapping))


def test_labels_that_differ_in_case_or_spaces_alone_are_said(tmp_path: Path) -> None:
    labels = ["Cat", "cat", "hot dog", "hot_dog", "Hot\u00a0Dog ", "-1", "1"]
    records = [ImageRecord(f"{n}", picture(n), label) for n, label in enumerate(labels)]
    printed = console.summary_lines(run(Given(*records), tmp_path / "out").summary)
    remedy = "differ only in case, spaces or hyphens; ingest.labels merges them"
    assert [line for line in printed if "differ" in line] == [
        f"the labels 'Cat', 'cat' {remedy}",
        f"the labels 'Hot\\xa0Dog ', 'hot dog', 'hot_dog' {remedy}",
    ]


def test_a_class_of_which_all_images_are_refused_is_said(tmp_path: Path) -> None:
    result = run(Given(*some(2), ImageRecord("x", b"junk", "owl"), ImageRecord("y", b"", "owl")), tmp_path / "out")
    assert result.summary["lost_classes"] == ["owl"]
    assert "all images of 'owl' were rejected" in console.summary_lines(result.summary)


def two_labels() -> list[ImageRecord]:
    """Two pictures under two labels each, one of them three times and one under one id; one copy with one label."""
    return [
        *some(4, "a"),
        ImageRecord("x", picture(50), "a"),
        ImageRecord("y", picture(50), "b"),
        ImageRecord("z", picture(50), "b"),
        ImageRecord("same", picture(51), "a"),
        ImageRecord("same", picture(51), "b"),
        ImageRecord("copy 1", picture(52), "b"),
        ImageRecord("copy 2", picture(52), "b"),
        ImageRecord("twice", picture(53), "b"),
        ImageRecord("twice", picture(53), "b"),
    ]


def test_pictures_under_two_labels_are_dropped(tmp_path: Path) -> None:
    result = run(Given(*two_labels()), tmp_path / "out", conflicts="drop")
    assert set(result.images) == {"a0", "a1", "a2", "a3", "copy 1", "copy 2", "twice"}
    assert result.rejected == {
        "x": "conflict",
        "y": "conflict",
        "z": "conflict",
        "same": "conflict",
        "twice": "duplicate_id",
    }
    assert result.summary["rejected"] == {"conflict": 5, "duplicate_id": 1}
    assert result.summary["inputs"] == len(two_labels())
    assert (
        "2 image(s) with two labels, 5 input(s) left out by ingest.conflicts, such as one image, labelled 'a' (same) "
        "and 'b' (same)"
    ) in console.summary_lines(result.summary)
    assert result.summary["audit"]["two_labels"]["groups"] == 0


def test_pictures_under_two_labels_are_kept_but_for_one_id(tmp_path: Path) -> None:
    result = run(Given(*two_labels()), tmp_path / "out", conflicts="keep")
    assert {"x", "y", "z"} < set(result.images)
    assert result.rejected == {"same": "conflict", "twice": "duplicate_id"}
    assert result.summary["rejected"] == {"conflict": 2, "duplicate_id": 1}
    assert result.summary["audit"]["two_labels"]["groups"] == 1


def test_pictures_under_two_labels_can_end_ingestion(tmp_path: Path) -> None:
    message = r"ingest\.conflicts=fail: 2 image\(s\) with two labels; the first: one image, labelled 'a' \(same\)"
    with pytest.raises(UserError, match=message):
        run(Given(*two_labels()), tmp_path / "out", conflicts="fail")


@pytest.mark.parametrize("conflicts", ["drop", "keep"])
@settings(max_examples=10, deadline=None)
@given(st.data())
def test_conflicts_do_not_depend_on_the_order_of_arrival(
    tmp_path_factory: pytest.TempPathFactory, conflicts: str, data: st.DataObject
) -> None:
    records = [*two_labels(), ImageRecord("same", picture(60), "a"), ImageRecord("x", picture(61), "b")]
    out = tmp_path_factory.mktemp("runs")
    straight = run(Given(*records), out / "1", conflicts=conflicts)
    shuffled = run(Given(*data.draw(st.permutations(records))), out / "2", conflicts=conflicts)
    assert straight.files == shuffled.files
    assert straight.summary["inputs"] == len(records)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read"),
        ("a: [1]", "must map"),
        ("- a", "must map"),
        ("a: b: c", "is not YAML"),
        ("\x00", "is not YAML"),
    ],
)
def test_a_labels_file_that_cannot_be_used(content: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "labels.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=rf"ingest\.labels: .*{message}"):
        run(Given(*some()), tmp_path / "out", labels=str(path))


def test_a_class_with_too_few_images_stops_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"ingest\.min_per_class=3: too few images of 'b' \(2\); add some"):
        run(Given(*some(5), *some(2, "b")), tmp_path / "out", min_per_class=3)


def test_refusals_can_end_ingestion(tmp_path: Path) -> None:
    records = [*some(8), ImageRecord("bad", picture(3)[:50], "a"), Rejection("gone", RejectionReason.MISSING)]
    assert run(Given(*records), tmp_path / "1", max_rejected=0.2).summary["rejected"] == {"missing": 1, "truncated": 1}
    with pytest.raises(
        UserError, match=r"max_rejected=0\.19: 2 of 10 .*\(1 missing, 1 truncated\).*; ingest\.max_rejected=1 goes on"
    ):
        run(Given(*records), tmp_path / "2", max_rejected=0.19)
    with pytest.raises(
        UserError, match=r"ingest\.on_reject=fail: 2 of 10 .*; the first: bad: .*; ingest\.on_reject=warn goes on"
    ):
        run(Given(*records), tmp_path / "3", on_reject="fail")
    with pytest.raises(
        UserError, match=r"ingest\.source=digits: there is nothing in the source \(hidden files are ignored\)"
    ):
        run(Given(), tmp_path / "4")
    with pytest.raises(UserError, match=r"all 1 inputs were .*; correct the path in the list, or add the file$"):
        run(Given(Rejection("gone", RejectionReason.MISSING)), tmp_path / "5")


def test_limits_are_the_configurations(tmp_path: Path) -> None:
    files = {
        "a/ok.png": picture(1),
        "a/wide.png": picture(2, side=50),
        "a/b.bmp": picture(3, kind="BMP"),
    }
    result = run(FolderSource(tree(tmp_path / "in", files), 2**20), tmp_path / "out", max_pixels=400, formats=["PNG"])
    assert result.rejected == {"a/wide.png": "too_many_pixels", "a/b.bmp": "format_not_allowed"}


def test_classes_that_appear_and_disappear_are_said(tmp_path: Path) -> None:
    memory = tmp_path / "state" / "classes.json"
    assert console.class_changes(["a", "b"], memory) == []
    assert console.class_changes(["a", "b"], memory) == []
    assert console.class_changes(["b", "c"], memory) == [
        "new class(es) since the last ingestion: c",
        "class(es) gone since the last ingestion: a",
    ]


def test_every_hostile_file_has_one_row(tmp_path: Path) -> None:
    root = shared_data("hostile")
    result = run(FolderSource(root, 2**25), tmp_path / "out", workers=2)
    files = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    images, rejected = set(result.images), set(result.rejected)
    assert images | rejected == files
    assert not images & rejected
    assert len(images) + len(rejected) == len(files) == result.summary["inputs"]
    assert set(result.rejected.values()) <= {str(reason) for reason in RejectionReason}


@pytest.mark.slow
def test_mutations_of_valid_files_have_one_row_each(tmp_path: Path) -> None:
    """4,000 cuts, flips and splices of files of every format: no crash, each a row."""
    rng = random.Random(0)
    seeds = [picture(n, 24, kind) for n, kind in enumerate(["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM"])]
    records = []
    for number in range(4000):
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(data))
            match rng.randrange(4):
                case 0:
                    del data[at + 1 :]
                case 1:
                    data[at] ^= 1 << rng.randrange(8)
                case 2:
                    data[at : at + 4] = rng.randbytes(4)
                case 3:
                    data[at:at] = rng.choice(seeds)[: rng.randrange(64)]
        records.append(ImageRecord(f"{number:05}", bytes(data), "x"))
    result = run(Given(*records, *some(1)), tmp_path / "out", workers=2)
    assert len(result.images) + len(result.rejected) == len(records) + 1
    assert not [name for name, reason in result.rejected.items() if reason not in set(RejectionReason)]


def project(tmp_path: Path, params: dict[str, Any]) -> Path:
    """A project's folder with the real configuration and scripts, and its own params.yaml."""
    root = tmp_path / "project"
    root.mkdir()
    for name in ("conf", "pipeline"):
        (root / name).symlink_to(ROOT / name)
    (root / "params.yaml").write_text(json.dumps({"ingest": params}))
    return root


def stage(root: Path, name: str, *overrides: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"pipeline.{name}", *overrides]
    return subprocess.run(command, cwd=root, env={**os.environ, **environment}, capture_output=True, text=True)


def digest(root: Path) -> str:
    return hashlib.sha256(b"".join(p.name.encode() + p.read_bytes() for p in sorted(root.iterdir()))).hexdigest()


def test_the_scripts_are_reproducible(tmp_path: Path) -> None:
    one = project(tmp_path, {"source": "digits", "limit": 200})
    (tmp_path / "elsewhere").mkdir()
    two = project(tmp_path / "elsewhere", {"source": "digits", "limit": 200})
    for root, seed, workers in ((one, "1", "1"), (two, "2", "2")):
        for name in ("watch", "ingest"):
            done = stage(root, name, f"ingest.workers={workers}", PYTHONHASHSEED=seed)
            assert done.returncode == 0, done.stderr
    assert (one / "data/source.json").read_bytes() == (two / "data/source.json").read_bytes()
    assert digest(one / "data/raw") == digest(two / "data/raw")
    assert not [p.name for p in (one / "data").iterdir() if p.name.startswith(".")]


def test_a_bad_source_leaves_the_outputs_and_is_one_line(tmp_path: Path) -> None:
    root = project(tmp_path, {"source": "digits", "limit": 100})
    assert stage(root, "ingest").returncode == 0
    before = digest(root / "data/raw")
    for overrides in (["ingest/source=folder", "ingest.path=none"], ["ingest.limit=3", "ingest.min_per_class=50"]):
        done = stage(root, "ingest", *overrides)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert digest(root / "data/raw") == before


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("ingest.limt=3", "ingest.limt: unknown key; did you mean 'limit'?"),
        ("ingest.limit=0", "ingest.limit: must be at least 1 or null, not 0"),
        ("ingest.limit=many", "ingest.limit: Value 'many'"),
        ("ingest.on_reject=stop", "ingest.on_reject: 'stop' is not one of warn, fail"),
        ("ingest.conflicts=both", "ingest.conflicts: 'both' is not one of drop, keep, fail"),
        ("ingest.formats=[PNG,SVG]", "ingest.formats: 'SVG' is not one of JPEG, PNG"),
        ("ingest.max_rejected=2", "ingest.max_rejected: must be a share from 0 to 1, not 2"),
        ("ingest.max_pixels=999999999", "ingest.max_pixels: must be at most 178,956,970"),
        ("ingest/source=foldr", "no option 'foldr'; did you mean 'folder'?"),
        ("ingest/source=folder", "ingest.source.path: has no value; set ingest.path (or ingest.url)"),
        ("train.lr=-1", "train.lr: "),
    ],
)
def test_watch_says_what_is_wrong_with_the_configuration_in_one_line(
    override: str, message: str, tmp_path: Path
) -> None:
    root = project(tmp_path, {"source": "digits"})
    done = stage(root, "watch", override)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert not (root / "data").exists()


def test_watch_imports_nothing_heavy(tmp_path: Path) -> None:
    root = project(tmp_path, {"source": "digits"})
    command = [sys.executable, "-X", "importtime", "-m", "pipeline.watch"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    modules = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    # NumPy may come, with the methods of `baseline`: 0.1 s, and only where the configuration has changed.
    heavy = {"pyarrow", "cv2", "PIL", "sklearn", "torch", "lightning", "mlflow", "albumentations", "fsspec"}
    assert not modules & heavy
    assert "hydra" in modules


def test_watch_sees_a_new_image_and_the_labels_file(tmp_path: Path) -> None:
    images = tree(tmp_path / "images", birds())
    root = project(tmp_path, {"source": "folder", "path": str(images)})
    seen = []
    labels = tmp_path / "labels.yaml"
    for change in (
        lambda: None,
        lambda: (images / "Ente/new.png").write_bytes(picture(7)),
        lambda: labels.write_text("owl: x"),
    ):
        change()
        done = stage(root, "watch", *([f"ingest.labels={labels}"] if labels.exists() else []))
        assert done.returncode == 0, done.stderr
        seen.append((root / "data/source.json").read_bytes())
    assert len(set(seen)) == 3


def test_ingest_imports_no_framework(tmp_path: Path) -> None:
    root = project(tmp_path, {"source": "digits", "limit": 100})
    command = [sys.executable, "-X", "importtime", "-m", "pipeline.ingest"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    modules = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not modules & {"torch", "lightning", "pytorch_lightning", "mlflow", "albumentations", "sklearn"}
