"""The project in the current folder: its git and DVC repositories, its remotes, MLflow, disk and permissions."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sightline.core import dvc_files
from sightline.core.credentials import mask
from sightline.core.errors import how_to_install
from sightline.core.text import readable_size
from sightline.doctor.diagnosis import Diagnosis, fault, good, warning

WRITTEN = ("data", "models", "reports", ".sightline", ".dvc/tmp")
LEAST_FREE = 2 * 10**9
"""Bytes: a few times the size of the default data with its shards and checkpoints."""
_SECONDS = 5.0  # timeout for a server's answer


def examine() -> Iterator[Diagnosis]:
    """Yields the diagnoses; only one if this is not a project."""
    if not Path("dvc.yaml").is_file():
        yield warning("project", f"{Path.cwd()} contains no dvc.yaml", "run it in the project's folder")
        return
    yield from _writable()
    yield _disk()
    yield _tracking()
    try:
        from dvc.exceptions import DvcException
        from dvc.repo import Repo
    except ModuleNotFoundError:
        return  # reported by the checks of the installation
    yield _lock_files()
    try:
        with Repo() as repo:
            yield (
                good("repository", f"git and DVC, {repo.root_dir}")
                if not repo.config["core"].get("no_scm")
                else warning("repository", "DVC without git: no experiments, no diff", "git init")
            )
            yield _links(repo)
            yield from _remotes(repo)
    except DvcException as error:
        yield fault("repository", " ".join(str(error).split()), "git init && dvc init")


def _lock_files() -> Diagnosis:
    damaged = dvc_files.damaged()
    if damaged:
        return fault("dvc.lock", f"damaged: {', '.join(map(str, damaged))}", "sightline repair")
    return good("dvc.lock", "whole" if dvc_files.LOCK.is_file() else "none yet: dvc repro writes it")


def _writable() -> Iterator[Diagnosis]:
    for name in WRITTEN:
        folder = Path(name)
        while not folder.exists():
            folder = folder.parent
        try:
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            yield fault(
                "permissions", f"{folder} cannot be written ({error.strerror})", f"chown -R {os.getuid()} {folder}"
            )
            return
    yield good("permissions", "outputs can be written")


def _disk() -> Diagnosis:
    free = shutil.disk_usage(Path.cwd()).free
    if free < LEAST_FREE:
        return warning("disk", f"{readable_size(free)} free", "dvc gc --workspace removes what no stage needs")
    return good("disk", f"{readable_size(free)} free")


def _tracking() -> Diagnosis:
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri.startswith(("http://", "https://")):
        return good("mlflow", mask(uri) or "mlflow.db, here")
    import urllib.error
    import urllib.request

    try:
        with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=_SECONDS):  # noqa: S310 - http(s), see above
            return good("mlflow", f"{mask(uri)} answers")
    except (urllib.error.URLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return warning(
            "mlflow", f"{mask(uri)} does not answer ({reason})", "runs are queued; sightline sync sends them"
        )


def _links(repo: Any) -> Diagnosis:
    """Checks whether outputs are linked or copied from the cache."""
    from dvc.fs import LocalFileSystem

    wanted = repo.cache.local.cache_types
    with tempfile.TemporaryDirectory(dir=repo.tmp_dir) as folder:
        source = Path(repo.cache.local.path)
        source.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=source) as file:
            for kind in wanted:
                try:
                    getattr(LocalFileSystem(), kind)(file.name, str(Path(folder) / kind))
                except (OSError, NotImplementedError, AttributeError):
                    continue
                if kind == "copy":
                    break
                return good("links", f"outputs are {kind}s to DVC's cache")
    return good(
        "links", "outputs are copied from DVC's cache (dvc config cache.type hardlink,symlink saves their space)"
    )


def _remotes(repo: Any) -> Iterator[Diagnosis]:
    if not repo.config["remote"]:
        yield good("remote", "none: data stay on this machine (dvc remote add --default storage URL)")
    for name in repo.config["remote"]:
        url = mask(repo.config["remote"][name].get("url", ""))
        scheme = url.partition("://")[0] if "://" in url else "local"
        try:
            odb = repo.cloud.get_remote_odb(name)
            odb.fs.exists(odb.path)  # raises if the store does not answer
        except ModuleNotFoundError:
            yield fault("remote", f"{name} ({url}) needs a package that is not installed", how_to_install(scheme))
        except Exception as error:  # each file system raises its own
            text = " ".join(str(error).split())
            remedy = (
                how_to_install(scheme)
                if "requires" in text
                else "check its address and the credentials in the environment"
            )
            yield fault("remote", f"{name} ({url}): {mask(text)[:160]}", remedy)
        else:
            yield good("remote", f"{name} ({url}) answers")
