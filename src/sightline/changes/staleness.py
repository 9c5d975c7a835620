"""The stages that are out of date, and the reasons.

This predicts what `dvc repro` would run: the fingerprints that `watch` takes of source and code are written to a
temporary folder and compared with dvc.lock. Nothing is run, pulled or written to the project, and missing outputs are
not a reason: they can be pulled from a remote, or made again.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path, PurePosixPath
from typing import Any

from sightline.changes import definitions, source_changes
from sightline.changes.values import by_dotted_name, yaml_text
from sightline.config.location import conf_folder, scripts_folder
from sightline.config.params import PARAMS
from sightline.core import dvc_cache
from sightline.core.code_digest import CodeDigests
from sightline.core.errors import UserError
from sightline.core.package_imports import loading
from sightline.stages.ingest.config import IngestConfig
from sightline.stages.watch import config_cache, look

MOST_NAMED = 3
_WATCH = "watch"


@dataclass(frozen=True)
class StaleStage:
    """A stage that `dvc repro` would run.

    Attributes:
        name: The stage.
        reasons: Its own changes; empty if only an earlier stage has changed.
        after: Earlier stages that are out of date: this stage runs if their outputs change.
    """

    name: str
    reasons: tuple[str, ...]
    after: tuple[str, ...]


def stale_stages() -> list[StaleStage]:
    """Compares the project in the current folder with its dvc.lock.

    Returns:
        The stages that are out of date, in execution order; empty if `dvc repro` would run none.

    Raises:
        UserError: If this is not a project, its configuration is invalid, its source cannot be reached, or dvc.lock is
            damaged.
    """
    with loading("DVC"):
        from dvc.exceptions import DvcException
        from dvc.repo import Repo
        from dvc.repo.index import Index

    if not Path("dvc.yaml").is_file():
        raise UserError(f"{Path.cwd()} contains no dvc.yaml: run it in the project's folder")
    with tempfile.TemporaryDirectory(prefix="sightline-") as folder:
        watched = _watched()
        look.look(watched, Path(folder))
        try:
            with Repo() as repo:
                # Not `repo.index`, for which DVC walks every folder in git, including those with images.
                return _stale(repo, Index.from_file(repo, "dvc.yaml"), Path(folder), watched.ingest.path)
        except DvcException as error:
            raise UserError(f"dvc: {' '.join(str(error).split())}; sightline repair fixes a damaged dvc.lock") from None
        except CycleError as error:
            names = " -> ".join(stage.name for stage in error.args[1])
            raise UserError(f"dvc.yaml: stages read what each other write: {names}") from None


def _watched() -> config_cache.WatchedConfig:
    watched = config_cache.remembered()
    if watched is None:
        # Imported here, because Hydra would take most of the time.
        from sightline.config.compose import compose, read_params, saved_overrides, typed
        from sightline.config.sections import check

        config = compose(saved_overrides(read_params()))
        check(config)
        ingest = typed(IngestConfig, config["ingest"], "ingest")
        watched = config_cache.WatchedConfig.of(ingest, config)
    return watched


def _stale(repo: Any, index: Any, now: Path, source: str | None) -> list[StaleStage]:
    """Compares each stage of a DVC repository with the lock.

    Args:
        repo: The repository.
        index: The stages in its dvc.yaml.
        now: The folder with the files that `watch` would write.
        source: The source's location, as configured.
    """
    index.outs_trie  # noqa: B018 - raises if two stages write the same path
    makers = {out.def_path: out for stage in index.stages for out in stage.outs}
    before = {stage: _makers_read(stage, makers) for stage in index.stages}
    stale: dict[str, StaleStage] = {}
    # Not in the order of DVC's graph, because the package behind it takes a tenth of a second to import.
    for stage in TopologicalSorter(before).static_order():
        if stage.name == _WATCH:
            continue
        reasons = tuple(_reasons(stage, repo, now, makers, source))
        names = {maker.name for maker in before[stage]}
        after = tuple(name for name in stale if name in names)
        if reasons or after:
            stale[stage.name] = StaleStage(stage.name, reasons, after)
    return list(stale.values())


def _makers_read(stage: Any, makers: Mapping[str, Any]) -> list[Any]:
    """Returns the stages whose outputs a stage reads."""
    paths = [PurePosixPath(dep.def_path) for dep in stage.deps]
    places = [str(place) for path in paths for place in (path, *path.parents)]
    return list(dict.fromkeys(makers[place].stage for place in places if place in makers))


def _reasons(stage: Any, repo: Any, now: Path, makers: Mapping[str, Any], source: str | None) -> Iterable[str]:
    locked = [item for item in [*stage.deps, *stage.outs] if item.hash_info]
    if not locked:
        yield "it has never run"
        return
    if stage.cmd_changed:
        yield "its command in dvc.yaml"
    knobs_changed = False
    digests: set[str] = set()
    for dep in stage.deps:
        if hasattr(dep, "params"):
            path = Path(dep.def_path)
            values = json.loads((now / path).read_bytes()) if (now / path).is_file() else dep.read_params()
            changed = dict(_changed_params(dep.params, dep.hash_info.value or {}, values))
            if path == look.STAGES:
                digests = {key.rpartition(".")[2] for key in changed}
            else:
                knobs_changed |= path == PARAMS and bool(changed)
                yield from changed.values()
    if "settings" in digests and not knobs_changed:  # a changed setting says more than the digest that covers it
        yield _changed_settings(stage.name)
    if "code" in digests:
        yield _changed_code(stage.name)
    for dep in stage.deps:
        if not hasattr(dep, "params"):
            yield from _changed_file(dep, repo, now, makers, source)
    for out in stage.outs:
        if "modified" in out.workspace_status().values():
            yield f"{out.def_path} {_other_output(out)}"


def _other_output(out: Any) -> str:
    """Describes how an output differs from the lock: from another commit, as after `git pull`, or changed by hand."""
    there = out.get_hash()
    if not (out.use_cache and there and dvc_cache.holds(there.value)):
        return "has changed since the stage wrote it"
    return (
        f"belongs to another commit: dvc {'checkout' if dvc_cache.holds(out.hash_info.value) else 'pull'} restores "
        "this one's"
    )


def _changed_params(
    names: Iterable[str], locked: Mapping[str, Any], values: Mapping[str, Any]
) -> Iterable[tuple[str, str]]:
    """Yields the dotted names of parameters that differ from the lock, with the old and new value of each."""
    before = by_dotted_name({name: locked.get(name) for name in names})
    after = by_dotted_name({name: values.get(name, _under(values, name)) for name in names})
    for key in {**before, **after}:
        old, new = before.get(key), after.get(key)
        if old != new or (key in before) != (key in after):
            change = f"{yaml_text(old)} -> {yaml_text(new)}" if key in before else f"{yaml_text(new)}, newly set"
            yield key, f"{key}: {change}"


def _under(values: Any, name: str) -> Any:
    """Returns the value at a dotted name."""
    for part in name.split("."):
        values = values.get(part) if isinstance(values, Mapping) else None
    return values


def _changed_code(stage: str) -> str:
    commit = definitions.commit_of("dvc.lock")
    modules = CodeDigests(scripts=scripts_folder()).closure(f"pipeline.{stage}").values()
    changed = definitions.changed_definitions(commit, modules) if commit else {}
    if not changed:
        return "its code"
    return "its code: " + _some([f"{name} ({_some(names)})" if names else name for name, names in changed.items()])


def _changed_settings(stage: str) -> str:
    commit = definitions.commit_of("dvc.lock")
    paths = [conf_folder() / "config.yaml", *(conf_folder() / stage).rglob("*.yaml")]
    changed = definitions.changed_values(commit, paths) if commit else []
    return "its settings in conf/" + (f": {_some(changed)}" if changed else "")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"{', '.join(names[:MOST_NAMED])}{more}"


def _changed_file(dep: Any, repo: Any, now: Path, makers: Mapping[str, Any], source: str | None) -> Iterable[str]:
    path, locked = dep.def_path, dep.hash_info.value if dep.hash_info else None
    if (now / path).is_file():
        if locked != _md5(now / path):
            fingerprint, before = json.loads((now / path).read_bytes()), _earlier(repo, path, locked)
            has_remote = bool(repo.config["core"].get("remote"))
            yield f"{path}: {source_changes.source_words(fingerprint, before, locked, source, has_remote)}"
    elif path in makers:
        if makers[path].hash_info.value != locked:
            yield f"{path}: dvc.lock records another version than {makers[path].stage.name} wrote"
    elif locked is None:
        yield f"{path}: a new dependency"
    else:
        for kind in dep.workspace_status().values():
            yield f"{path}: {kind}"


def _earlier(repo: Any, path: str, md5: str | None) -> Any:
    """Returns the fingerprint in the lock, from the working tree or DVC's cache, or None."""
    places = [Path(path), *([Path(repo.cache.local.oid_to_path(md5))] if md5 else [])]
    kept = next((place for place in places if place.is_file() and _md5(place) == md5), None)
    return None if kept is None else json.loads(kept.read_bytes())


def _md5(path: Path) -> str:
    from dvc_data.hashfile.hash import fobj_md5  # the same digest as DVC's

    with path.open("rb") as file:
        return str(fobj_md5(file))


def stale_lines(stale: list[StaleStage]) -> list[str]:
    """Returns lines that say what is out of date, one per reason."""
    result = [f"{stage.name}: {reason}" for stage in stale for reason in stage.reasons]
    followers = [stage.name for stage in stale if not stage.reasons]
    if followers:
        result.append(f"{', '.join(followers)}: if what {'it reads' if len(followers) == 1 else 'they read'} changes")
    return result
