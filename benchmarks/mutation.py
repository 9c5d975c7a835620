"""Mutation testing: the share of small faults that the narrow tests detect, in modules that silently affect results.

    python benchmarks/mutation.py                                  # every module of benchmarks/mutation.toml
    python benchmarks/mutation.py sightline.sources.layout --all   # every mutant of one module

If a module has more mutants than `--most` (60), that many are drawn at random with seed 0. The tests run in a copy of
the project. For each module, one process imports what the tests import and records which tests run which lines. Each
mutant is then written into the copy and tested in a fork, with the tests that run its lines (or all tests of the
module, if none does), fastest first, until one fails. A mutant also counts as detected if its tests exceed a limit of
CPU time: twice that of all the module's tests without a mutant, plus `--seconds`. The number of these is a separate
column.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import json
import math
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from mutants import Site, sites

ROOT = Path(__file__).parents[1]
TABLE = Path(__file__).with_suffix(".toml")
SEED = 0
OWN = ("sightline", "tests", "pipeline", "conftest")
QUICK = ("-m", "not slow and not full")  # the tests that have to detect a mutant
PYTEST = ("-q", "-x", "--no-header", "--tb=no", "-o", "addopts=", "-p", "no:cacheprovider", *QUICK)
MEMORY = 6 << 30  # limit of a mutant's data segment (RLIMIT_DATA), in bytes


def modules() -> dict[str, list[str]]:
    """Returns the test files of each module in the table."""
    with TABLE.open("rb") as file:
        return {module: tests for section in tomllib.load(file).values() for module, tests in section.items()}


def copied(into: Path) -> Path:
    """Copies the project's files, except those that git ignores, and returns the copy."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, into / name)
    return into


class Selection:
    """A pytest plugin that runs only the given tests, in the given order; without an order, all tests."""

    def __init__(self, order: list[str] | None) -> None:
        self.order = order

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        if self.order is not None:
            rank = {name: index for index, name in enumerate(self.order)}
            items[:] = sorted((item for item in items if item.nodeid in rank), key=lambda item: rank[item.nodeid])


class Reach:
    """A pytest plugin that records each test's duration, and the lines of one file that it runs.

    Lines that are run by a test's fixtures count for all tests of its file, since these may share the fixture.
    """

    def __init__(self, file: Path) -> None:
        self.file, self.lines, self.seconds = str(file), defaultdict[str, set[int]](set), dict[str, float]()
        self.shared: dict[str, set[int]] = defaultdict(set)
        self.failed: list[str] = []
        self.now: set[int] = set()

    def trace(self, frame: FrameType, _event: str, _: object) -> Callable[..., Any] | None:
        if frame.f_code.co_filename != self.file:
            return None
        self.now.add(frame.f_lineno)
        return self.trace

    def pytest_runtest_logreport(self, report: Any) -> None:
        name = report.nodeid
        self.seconds[name] = self.seconds.get(name, 0.0) + report.duration
        (self.lines[name] if report.when == "call" else self.shared[name.split("::")[0]]).update(self.now)
        self.now.clear()
        if report.failed:
            self.failed.append(name)

    def listed(self) -> dict[str, dict[str, list[int]]]:
        kinds = {"lines": self.lines, "shared": self.shared}
        return {kind: {name: sorted(lines) for name, lines in of.items()} for kind, of in kinds.items()}

    def take(self, seconds: dict[str, float], lines: dict[str, list[int]], shared: dict[str, list[int]]) -> None:
        self.seconds = seconds
        self.lines.update({name: set(numbers) for name, numbers in lines.items()})
        self.shared.update({name: set(numbers) for name, numbers in shared.items()})

    def reaching(self, lines: range) -> list[str]:
        """Returns the tests that run any of the lines, fastest first."""
        tests = [
            name for name in self.seconds if not (self.lines[name] | self.shared[name.split("::")[0]]).isdisjoint(lines)
        ]
        return sorted(tests, key=self.seconds.__getitem__)


def tests_run(files: list[str], plugins: list[Any]) -> int:
    """Runs pytest in this process, re-importing all of the project's modules, and returns its exit code."""
    import hypothesis
    import pytest

    for name in [name for name in sys.modules if name.split(".")[0] in OWN]:
        del sys.modules[name]
    phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
    hypothesis.settings.register_profile("mutation", phases=phases, database=None, derandomize=True)
    hypothesis.settings.load_profile("mutation")
    with tempfile.TemporaryDirectory(dir=os.environ["TMPDIR"]) as folder:
        return int(pytest.main([*PYTEST, f"--basetemp={folder}/t", *files], plugins=plugins))


def forked(work: Callable[[], Any], cpu_seconds: int, wall_seconds: float) -> Any:
    """Calls a function in a fork and returns its result, or None if the fork died or exceeded a time limit."""
    answer = Path(os.environ["TMPDIR"]) / "answer.json"
    answer.unlink(missing_ok=True)
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            silent = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(silent, stream)
            resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
            resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
            answer.write_text(json.dumps(work()))
        finally:
            os._exit(0)
    timer = threading.Timer(wall_seconds, os.kill, (pid, signal.SIGKILL))
    timer.start()
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # not reaped yet, so that the id cannot be reused
    timer.cancel()
    with suppress(ProcessLookupError, PermissionError):  # processes that it started and left behind
        os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return json.loads(answer.read_text()) if answer.exists() and answer.stat().st_size else None


def drawn(places: list[Site], most: int) -> list[Site]:
    """Draws at most `most` of the mutants, uniformly and with a fixed seed."""
    if len(places) <= most:
        return places
    chosen = random.Random(SEED).sample(range(len(places)), most)  # noqa: S311 - a sample, no secret
    return [places[index] for index in sorted(chosen)]


def tried(module: str, tests: list[str], most: int, seconds: int) -> dict[str, Any]:
    """Tests a module's mutants in the copy, which is the working directory, and returns the results."""
    spec = importlib.util.find_spec(module)
    file = Path(spec.origin if spec and spec.origin else "")
    tree = ast.parse(original := file.read_text())
    places = sites(tree)
    began = time.process_time() + sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    with Path(os.devnull).open("w") as silent:
        os.dup2(silent.fileno(), 1)
        tests_run(["--collect-only", *tests], [])
    reach = Reach(file)

    def baseline() -> dict[str, Any]:
        threading.settrace(reach.trace)
        sys.settrace(reach.trace)
        code = tests_run(tests, [reach])
        sys.settrace(None)
        cpu = time.process_time()
        return {"code": code, "cpu": cpu, "tests": reach.seconds, "failed": reach.failed, **reach.listed()}

    base = forked(baseline, 600, 600)
    if base is None or base["code"] != 0:
        sys.exit(f"{module}: its tests fail without a mutant: {base and base['failed']}")
    reach.take(base["tests"], base["lines"], base["shared"])
    limit = seconds + 2 * math.ceil(base["cpu"])
    quickest = sorted(reach.seconds, key=reach.seconds.__getitem__)
    survivors, late = [], 0
    chosen = drawn(places, most)
    for place in chosen:
        order = quickest if place.at_import else reach.reaching(place.lines) or quickest
        file.write_text(place.source(tree))
        files = sorted({name.split("::")[0] for name in order})
        code = forked(lambda: tests_run(files, [Selection(order)]), limit, 6 * limit)  # noqa: B023 - used at once
        late += code is None
        if code == 0:
            reached = place.at_import or bool(reach.reaching(place.lines))
            survivors.append({"line": place.lines[0], "change": place.describe(), "reached": reached})
    file.write_text(original)
    spent = time.process_time() + sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]) - began
    counts = {"all": len(places), "tried": len(chosen), "late": late, "seconds": round(spent)}
    return {"module": module, "survivors": survivors, **counts}


def in_copy(module: str, most: int, seconds: int) -> dict[str, Any]:
    """Tests one module's mutants in a separate process and a separate copy of the project."""
    with tempfile.TemporaryDirectory() as folder:
        root = copied(Path(folder) / "project")
        (temporary := Path(folder) / "tmp").mkdir()
        paths = {"PYTHONPATH": f"{root / 'src'}:{root}", "TMPDIR": str(temporary), "PYTHONDONTWRITEBYTECODE": "1"}
        data = os.environ.get("SIGHTLINE_SHARED_DATA", str(ROOT.parent / "shared" / "data"))
        few = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
        command = [sys.executable, __file__, "--one", module, "--most", str(most), "--seconds", str(seconds)]
        environment = {**os.environ, **paths, **few, "SIGHTLINE_SHARED_DATA": data}
        run = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
        if run.returncode:
            return {"module": module, "error": run.stderr.strip()}
        return dict(json.loads(run.stderr.splitlines()[-1]))


def lines_of(result: dict[str, Any]) -> Iterator[str]:
    """Yields a module's row of the table, and a line for each surviving mutant."""
    if "error" in result:
        yield result["error"]
        return
    tried, every, late = result["tried"], result["all"], result["late"]
    killed = tried - len(result["survivors"])
    count = f"{tried} of {every}" if tried < every else str(every)
    name = result["module"].removeprefix("sightline.")
    yield f"| `{name}` | {count} | {killed} | {late} | {killed / max(1, tried):.0%} | {result['seconds']} s |"
    for survivor in result["survivors"]:
        yield f"    {survivor['line']}: {survivor['change']}{'' if survivor['reached'] else '   (no test reaches it)'}"


def main() -> None:
    """Tests the mutants of the named modules, or of all modules, and prints the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", help="module names or prefixes of them; default: all")
    parser.add_argument("--most", type=int, default=60, help="maximum number of mutants per module")
    parser.add_argument("--all", action="store_true", help="test every mutant")
    parser.add_argument("--seconds", type=int, default=10, help="extra CPU seconds that a mutant may use")
    parser.add_argument("--jobs", type=int, default=1, help="number of modules tested in parallel")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    most = sys.maxsize if arguments.all else arguments.most
    if arguments.one:
        result = tried(arguments.one, modules()[arguments.one], most, arguments.seconds)
        print(json.dumps(result), file=sys.stderr)
        return
    wanted = [name for name in modules() if not arguments.modules or name.startswith(tuple(arguments.modules))]
    with ThreadPoolExecutor(arguments.jobs) as pool:
        results = []
        for result in pool.map(lambda name: in_copy(name, most, arguments.seconds), wanted):
            results.append(result)
            print("\n".join(lines_of(result)), flush=True)
    counted = [result for result in results if "error" not in result]
    total, alive = sum(result["tried"] for result in counted), sum(len(result["survivors"]) for result in counted)
    print(f"{total - alive} of {total} mutants noticed" + (f": {1 - alive / total:.1%}" if total else ""))
    sys.exit(1 if len(counted) < len(results) else 0)


if __name__ == "__main__":
    main()
