"""Outputs of an earlier dvc.lock, and a source older than its pointer: refused, before DVC goes on from them."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from sightline.core.errors import UserError
from sightline.sources import content
from sightline.stages.watch import earlier_results
from tests.stages.ingest.helpers import birds, tree

FLAG = [b"python", b"-m", b"dvc", b"repro", b"--allow-missing"]
CACHE = Path(".dvc/cache/files/md5")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_STAGE", "watch")
    tree(Path("data/raw"), {"a": b"1", "b": b"2"})
    tree(Path("models"), {"model.json": b"{}"})


def keep(path: Path) -> str:
    """Puts a path into the cache, as to its digest alone."""
    digest = content.own_digest(path)
    file = CACHE / digest[:2] / digest[2:]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"[]")
    return digest


def lock(raw: str, model: str) -> None:
    outs = [("data/raw", raw), ("models/model.json", model), ("models/gone", "0" * 32)]
    lines = "".join(f"    - path: {path}\n      md5: {digest}\n" for path, digest in outs)
    Path("dvc.lock").write_text(f"schema: '2.0'\nstages:\n  ingest:\n    cmd: x\n    outs:\n{lines}")


def test_outputs_of_this_lock_are_gone_on_from() -> None:
    raw, model = keep(Path("data/raw")), content.own_digest(Path("models/model.json"))
    lock(raw, model)  # the model has left the cache, and is what the lock has all the same
    earlier_results.refuse_earlier(FLAG)
    lock("1" * 32 + ".dir", model)
    shutil.rmtree(CACHE)
    earlier_results.refuse_earlier(FLAG)  # changed by hand: no result of DVC's


def test_earlier_results_are_refused_where_dvc_would_use_them(monkeypatch: pytest.MonkeyPatch) -> None:
    keep(Path("data/raw"))
    lock("1" * 32 + ".dir", content.own_digest(Path("models/model.json")))
    with pytest.raises(UserError, match=r"^data/raw is from an earlier dvc.lock: run `sightline repair`"):
        earlier_results.refuse_earlier(FLAG)
    keep(Path("models/model.json"))
    lock("1" * 32 + ".dir", "1" * 32)
    with pytest.raises(UserError, match=r"^data/raw and 1 more outputs are from an earlier"):
        earlier_results.refuse_earlier(FLAG)
    earlier_results.refuse_earlier(FLAG[:-1])  # it makes them anew by itself
    monkeypatch.delenv("DVC_STAGE")
    earlier_results.refuse_earlier(FLAG)
    Path("dvc.lock").unlink()
    assert list(earlier_results.outputs()) == []


def test_a_tracked_source_of_another_commit_than_its_pointer_is_refused() -> None:
    source = tree(Path("data/mine"), birds())
    before = keep(source)
    later = hashlib.md5(b"later", usedforsecurity=False).hexdigest() + ".dir"
    Path("data/mine.dvc").write_text(f"outs:\n- md5: {later}\n  path: mine\n")
    with pytest.raises(UserError, match=r"run `dvc pull data/mine.dvc`, or, to keep it as it is, `dvc add data/mine`$"):
        content.fingerprint(source)
    (CACHE / later[:2]).mkdir()
    (CACHE / later[:2] / later[2:]).write_bytes(b"[]")
    with pytest.raises(UserError, match=r"run `dvc checkout data/mine.dvc`"):
        content.fingerprint(source)
    (source / "new.png").write_bytes(b"changed since, and not added yet")
    assert content.fingerprint(source) != {"md5": before}


def test_repair_removes_what_the_cache_holds_and_nothing_else() -> None:
    source = tree(Path("data/mine"), birds())
    keep(source)
    keep(Path("data/raw"))
    Path("data/mine.dvc").write_text(f"outs:\n- md5: {'1' * 32}.dir\n  path: mine\n")
    for command in (["init", "--quiet"], ["add", "data/mine.dvc"]):
        subprocess.run(["git", *command], check=True)
    lock("1" * 32 + ".dir", "1" * 32)
    done = "belonged to another commit than {}: removed, it is still in DVC's cache"
    assert earlier_results.remove_earlier(sources=False) == [f"data/raw {done.format('dvc.lock')}"]
    assert source.is_dir()
    assert Path("models/model.json").is_file()  # which the cache does not hold
    assert earlier_results.remove_earlier(sources=True) == [f"data/mine {done.format('data/mine.dvc')}"]
    assert not source.exists()
    tree(Path("data/mine"), {"a/1.png": b"changed by hand"})
    assert earlier_results.remove_earlier(sources=True) == []
