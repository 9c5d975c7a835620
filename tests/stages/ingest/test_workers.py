"""Checking in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import pytest

from sightline.core.errors import UserError
from sightline.core.rejection import RejectionReason
from sightline.imaging.image_file import Limits
from sightline.stages.ingest.check_result import CheckedImage, CheckFailure
from sightline.stages.ingest.workers import CheckPool
from tests.stages.ingest.helpers import picture

LIMITS = asdict(Limits())


def checked(data: list[bytes | None], **options: Any) -> list[Any]:
    with CheckPool(LIMITS, **options) as workers:
        return [outcome for _, outcome in workers.imap((number, one) for number, one in enumerate(data))]


def is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def children() -> list[int]:
    return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_order_is_kept(count: int) -> None:
    data = [picture(n, side=4 + n % 20) if n % 5 else None for n in range(400)]
    outcomes = checked(data, count=count)
    assert [None if o is None else o.width for o in outcomes] == [4 + n % 20 if n % 5 else None for n in range(400)]


def test_what_is_said_of_an_image() -> None:
    checked_image, refused = checked([picture(1, 20, "GIF", "L"), picture(1)[:-30]], count=1)
    assert isinstance(checked_image, CheckedImage)
    assert (checked_image.format, checked_image.width, checked_image.height) == ("GIF", 20, 20)
    assert isinstance(refused, CheckFailure)
    assert refused.reason == "truncated"


@pytest.fixture
def hooked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the workers' decoder die of the bytes CRASH, and linger over HANG, as a fault in C code would."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sightline.stages.ingest.check as c, os, time\n"
        "real = c.check_image\n"
        "def check_image(data, limits):\n"
        "    if data == b'CRASH': os.kill(os.getpid(), 11)\n"
        "    if data == b'HANG': time.sleep(3600)\n"
        "    if data == b'KILL': os.kill(os.getpid(), 9)\n"
        "    if data == b'EXIT': os._exit(3)\n"
        "    if data == b'ONCE' and not os.path.exists('killed'): open('killed', 'w'); os.kill(os.getpid(), 9)\n"
        "    return real(data, limits)\n"
        "c.check_image = check_image\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)


@pytest.mark.usefixtures("hooked")
def test_a_crash_costs_one_image() -> None:
    data: list[bytes | None] = [picture(n) for n in range(20)]
    data[3] = data[17] = b"CRASH"
    outcomes = checked(data, count=2)
    assert [n for n, outcome in enumerate(outcomes) if isinstance(outcome, CheckFailure)] == [3, 17]
    assert outcomes[3] == CheckFailure(outcomes[3].reason, "the decoder crashed (signal 11)")


@pytest.mark.usefixtures("hooked")
def test_what_ended_a_process_is_named() -> None:
    outcomes = checked([picture(1), b"KILL", b"EXIT", picture(2)], count=1)
    assert [type(outcome) for outcome in outcomes] == [CheckedImage, CheckFailure, CheckFailure, CheckedImage]
    assert outcomes[1].reason == "out_of_memory"
    assert "killed (signal 9)" in outcomes[1].detail
    assert outcomes[2] == CheckFailure(RejectionReason.CORRUPT, "the decoder crashed (exit code 3)")


@pytest.mark.usefixtures("hooked")
def test_a_kill_that_no_image_caused_costs_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (outcome,) = checked([b"ONCE"], count=1)
    assert (tmp_path / "killed").exists()
    assert isinstance(outcome, CheckFailure)
    assert outcome.reason is not RejectionReason.OUT_OF_MEMORY  # it was looked at again, and is no image
    with CheckPool(LIMITS, count=1) as pool:
        pool._all[0]._process.kill()
        with pytest.raises(UserError, match=r"was killed \(signal 9\) as it started"):
            list(pool.imap([(0, picture(1))]))


@pytest.mark.parametrize("fault", [MemoryError, cv2.error], ids=["Python", "OpenCV"])
def test_want_of_memory_is_named(fault: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    error = fault("no room")
    error.code = cv2.Error.StsNoMem  # type: ignore[attr-defined]
    monkeypatch.setattr("sightline.stages.ingest.check.measure_quality", lambda _: (_ for _ in ()).throw(error))
    (outcome,) = checked([picture(1)], count=0)
    assert outcome == CheckFailure(RejectionReason.OUT_OF_MEMORY, "it needs more memory than is available")


@pytest.mark.usefixtures("hooked")
def test_a_decoder_that_never_ends_costs_one_image() -> None:
    data: list[bytes | None] = [picture(n) for n in range(5)]
    data[2] = b"HANG"
    outcomes = checked(data, count=1, timeout=1.5)
    assert [isinstance(outcome, CheckFailure) for outcome in outcomes] == [False, False, True, False, False]
    assert "took more than 1.5 s" in outcomes[2].detail


@pytest.mark.usefixtures("hooked")
@pytest.mark.parametrize("count", [pytest.param(1, marks=pytest.mark.full), 2])
def test_a_decoder_that_never_ends_holds_up_no_image_that_a_pipe_cannot_hold(count: int) -> None:
    large = picture(1, side=700)
    assert len(large) > 2**20
    data = [picture(0), b"HANG", *[large] * 6]
    outcomes = checked(data, count=count, timeout=1.5)
    assert [isinstance(outcome, CheckFailure) for outcome in outcomes] == [False, True, *[False] * 6]
    assert "took more than 1.5 s" in outcomes[1].detail


STAGE = """
import sys
from dataclasses import asdict
from sightline.core import files
from sightline.imaging.image_file import Limits
from sightline.stages.ingest import workers

workers.CHUNK_ITEMS = 1
files.die_with_parent(int(sys.argv[1]))
with workers.CheckPool(asdict(Limits()), count=1) as pool:
    for _ in pool.imap((n, n * b"HANG") for n in range(2)):
        print(pool._all[0]._process.pid, flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
@pytest.mark.usefixtures("hooked")
def test_a_decoder_that_never_ends_ends_with_a_killed_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    command = [sys.executable, "-c", STAGE, str(os.getpid())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as stage:
        assert stage.stdout
        worker = int(stage.stdout.readline())
        stage.kill()
    deadline = time.monotonic() + 60
    while (there := is_there(worker)) and time.monotonic() < deadline:
        time.sleep(0.02)
    if there:
        os.kill(worker, signal.SIGKILL)
    assert not there


def test_a_worker_that_cannot_start_is_no_fault_of_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cv2.py").write_text("raise ImportError('broken installation')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(RuntimeError, match="ended with code 1"):
        checked([picture(1)], count=1)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Python's own answer to Ctrl-C, which a process in the background of a shell does not have."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_no_process_is_left() -> None:
    def interrupted() -> Iterator[tuple[int, bytes | None]]:
        for number in range(1000):
            if number == 500:
                os.kill(os.getpid(), signal.SIGINT)
            yield number, picture(1)

    before = set(children())
    with pytest.raises(KeyboardInterrupt), CheckPool(LIMITS, count=2) as workers:
        list(workers.imap(interrupted()))
    assert set(children()) <= before  # one of another test's may end meanwhile
    with pytest.raises(ZeroDivisionError), CheckPool(LIMITS, count=2) as workers:
        list(workers.imap((1 // (200 - number), picture(1)) for number in range(500)))
    assert set(children()) <= before


def test_memory_holds_a_few_chunks_only() -> None:
    taken = 0

    def items() -> Iterator[tuple[int, bytes | None]]:
        nonlocal taken
        for number in range(200):
            taken += 1
            yield number, b"\0" * 2**22

    with CheckPool(LIMITS, count=1) as workers:
        stream = workers.imap(items())
        next(stream)
        assert taken < 30
        stream.close()  # type: ignore[attr-defined]
