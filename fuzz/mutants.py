"""Mutants of sound files through ingestion, prediction and the server: `python -m fuzz.mutants --count 50000 --seed 0`.

Each file becomes images, or one line that refuses it, and the three agree on an image. Anything else ends the run with
the mutant's number, with which it can be made again: `--first NUMBER --count 1`.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import faulthandler
import json
import os
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fuzz.sound_files import KINDS, PICTURES, sound_files
from fuzz.targets import FORM
from sightline.core.errors import UserError
from sightline.datasets.raw_set import Rejection
from sightline.imaging.image_file import Limits
from sightline.predict.bundle import Bundle
from sightline.serve.app import application
from sightline.serve.config import ServeConfig
from sightline.sources.archive import ArchiveSource
from sightline.sources.base import Source
from sightline.sources.file import LocalFile
from sightline.sources.idx import IdxSource
from sightline.sources.table import TableOption, TableSource
from sightline.stages.ingest.check import check_image
from sightline.stages.ingest.check_result import CheckFailure

LIMITS = Limits()
SECONDS = 2.0
"""Of processor time that one of the three may take for a file; the time on the clock depends on what else runs."""
MEMORY = 1024
"""MiB that the process may reach."""
HANGS = 120
"""Seconds on the clock after which a file is given up, with a traceback."""


def mutant(data: bytes, draw: random.Random) -> bytes:
    """Returns a copy with some bytes changed, removed, doubled or put in, or cut."""
    changed = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        place = draw.randrange(len(changed) + 1)
        match draw.randrange(5):
            case 0 if place < len(changed):
                changed[place] ^= 1 << draw.randrange(8)
            case 1:
                del changed[place : place + draw.randint(1, 8)]
            case 2:
                changed[place:place] = changed[place : place + draw.randint(1, 64)]
            case 3:
                changed[place:place] = draw.choice((b"\xff\xff\xff\xff", b"\0", b"\n", b"../", b'"', b"\x7f"))
            case _:
                changed = changed[: max(1, place)]
    return bytes(changed)


@dataclass
class Tally:
    """The outcome of a run.

    Attributes:
        files: Mutants of each kind.
        images: Of these, the ones with at least one image.
        longest: The most processor time that one of the three took, in seconds, with the mutant's number.
        memory: The most memory that the process has had, in MiB.
    """

    files: Counter[str] = field(default_factory=Counter)
    images: Counter[str] = field(default_factory=Counter)
    longest: tuple[float, int] = (0.0, 0)
    memory: float = 0.0

    def __str__(self) -> str:
        """Some lines."""
        kinds = ", ".join(f"{kind} {count:,} ({self.images[kind]:,})" for kind, count in self.files.items())
        return (
            f"{self.files.total():,} mutants: {self.images.total():,} with an image, the others refused in a line\n"
            f"of each kind (with an image): {kinds}\n"
            f"the longest took {self.longest[0]:.2f} s of processor time (mutant {self.longest[1]}), "
            f"peak memory {self.memory:.0f} MiB"
        )


class MutantRun:
    """Puts mutants through the three.

    Args:
        bundle: The bundle that predicts and is served.
        folder: A folder for files.
        seed: Of the mutants.
    """

    def __init__(self, bundle: Bundle, folder: Path, seed: int) -> None:
        self._bundle, self._folder, self._seed = bundle, folder, seed
        self._sound = sound_files(random.Random(seed))
        self._app = application(bundle, ServeConfig(workers=1))

    def run(self, numbers: range) -> Tally:
        """Makes and tries the mutants with these numbers.

        Raises:
            AssertionError: If one is taken wrongly; the message begins with its number.
        """
        return asyncio.run(self._run(numbers))

    async def _run(self, numbers: range) -> Tally:
        tally = Tally()
        asked: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        answers: asyncio.Queue[Any] = asyncio.Queue()
        lifespan = asyncio.create_task(self._app({"type": "lifespan"}, asked.get, answers.put))
        await asked.put({"type": "lifespan.startup"})
        assert (await answers.get())["type"] == "lifespan.startup.complete"
        try:
            for number in numbers:
                faulthandler.dump_traceback_later(HANGS, exit=True)
                draw = random.Random(f"{self._seed} {number}")
                kind = draw.choice(KINDS)
                data = mutant(draw.choice(self._sound[kind]), draw)
                try:
                    await self._try(number, kind, data, tally)
                except Exception as error:
                    raise AssertionError(f"mutant {number}, {kind}: {type(error).__name__}: {error}") from error
        finally:
            faulthandler.cancel_dump_traceback_later()
            await asked.put({"type": "lifespan.shutdown"})
            await lifespan
        tally.memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return tally

    async def _try(self, number: int, kind: str, data: bytes, tally: Tally) -> None:
        path = self._folder / _NAMES[kind]
        path.write_bytes(data)
        start = time.process_time()
        found = self._ingested(kind, data, path)
        ingested = time.process_time()
        predicted = self._predicted(kind, data, path)
        done = time.process_time()
        served = await self._served(number, data)
        longest = max(ingested - start, done - ingested, time.process_time() - done)
        assert longest < SECONDS, f"{longest:.2f} s of processor time"
        if kind in PICTURES:
            assert found == predicted == served, f"ingested {found}, predicted {predicted}, served {served}"
        tally.files[kind] += 1
        tally.images[kind] += bool(found)
        tally.longest = max(tally.longest, (longest, number))

    def _ingested(self, kind: str, data: bytes, path: Path) -> int:
        """Returns how many images ingestion accepts."""
        if kind in PICTURES:
            return self._checked(data)
        accepted = 0
        try:
            for record in self._source(kind, path).records():
                if isinstance(record, Rejection):
                    _require_line(record.detail)
                else:
                    accepted += self._checked(record.data)
        except UserError as error:
            _require_line(str(error))
        return accepted

    def _checked(self, data: bytes) -> int:
        outcome = check_image(data, LIMITS)
        if isinstance(outcome, CheckFailure):
            _require_line(outcome.detail)
        return not isinstance(outcome, CheckFailure)

    def _source(self, kind: str, path: Path) -> Source:
        if kind in ("zip", "tar"):
            return ArchiveSource(LocalFile(path), LIMITS.max_bytes, 10_000, 100, None)
        if kind == "idx":
            gzipped = path.read_bytes().startswith(b"\x1f\x8b")
            folder = path.with_name("gz" if gzipped else "plain")
            folder.mkdir(exist_ok=True)
            path.replace(folder / (path.name + ".gz" * gzipped))
            (folder / "train-labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 0, 1, 0]))
            path.touch()
            return IdxSource(folder, [])
        columns: dict[str, Any] = dict.fromkeys(("split_column", "group_column", "id_column", "path_column"))
        columns |= {"separator": None, "pixel_columns": None, "pixel_shape": [], "columns": [], "unlisted": True}
        option = TableOption("table", str(path), None, bytes_column="image", label_column="label", root=None, **columns)
        return TableSource(option, LIMITS.max_bytes, None)

    def _predicted(self, kind: str, data: bytes, path: Path) -> int:
        """Returns how many images the bundle predicts."""
        labelled = 0
        for prediction in self._bundle.predict(data if kind in PICTURES else path, workers=0):
            assert bool(prediction.error) != bool(prediction.top)
            _require_line(prediction.detail)
            labelled += not prediction.error
        return labelled

    async def _served(self, number: int, data: bytes) -> int:
        """Returns how many images the server predicts: of a body, a form, or JSON, in turn."""
        kind, body = _REQUESTS[number % 3](data)
        sent = asyncio.Queue[dict[str, Any]]()
        await sent.put({"type": "http.request", "body": body, "more_body": False})
        messages: list[Any] = []

        async def send(message: Any) -> None:
            messages.append(message)

        headers = [(b"host", b"localhost"), (b"content-type", kind), (b"content-length", str(len(body)).encode())]
        scope = {"type": "http", "method": "POST", "path": "/predict", "query_string": b"", "headers": headers}
        await self._app({**scope, "http_version": "1.1", "scheme": "http"}, sent.get, send)
        status, content = messages[0]["status"], json.loads(b"".join(m.get("body", b"") for m in messages[1:]))
        assert status in (200, 400, 413, 422), f"status {status}: {content}"
        _require_line(content.get("detail", ""))
        return sum(not row["error"] for row in content.get("predictions", []))


_NAMES = {kind: f"file.{kind}" for kind in KINDS} | {"idx": "train-images-idx3-ubyte"}
_REQUESTS: list[Callable[[bytes], tuple[bytes, bytes]]] = [
    lambda data: (b"image/png", data),
    lambda data: (
        FORM.encode(),
        b'--sightline\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n%s\r\n--sightline--\r\n'
        % data,
    ),
    lambda data: (b"application/json", json.dumps({"images": [base64.b64encode(data).decode()]}).encode()),
]


def _require_line(text: str) -> None:
    assert "\n" not in text, f"more than one line: {text!r}"


def _silent(run: Callable[[], Tally]) -> Tally:
    """Runs, and holds that nothing is written to standard error, by no library either."""
    kept = os.dup(2)
    with tempfile.TemporaryFile() as stream:
        os.dup2(stream.fileno(), 2)
        try:
            return run()
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            stream.seek(0)
            printed = stream.read().decode(errors="replace")
            sys.stderr.write(printed)
            assert not printed, "something was written to standard error"


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, default=Path("models/bundle"))
    parser.add_argument("--count", type=int, default=50_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    numbers = range(given.first, given.first + given.count)
    with tempfile.TemporaryDirectory() as folder:
        run = MutantRun(Bundle.load(given.bundle, threads=1), Path(folder), given.seed)
        tally = _silent(lambda: run.run(numbers))
    print(tally)
    assert tally.memory < MEMORY, f"more than {MEMORY} MiB of memory"


if __name__ == "__main__":
    main()
