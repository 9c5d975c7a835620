"""DVC's cost with the raw set as shards, compared with the same images as files; and the time of `sightline check`.

    python benchmarks/shards.py [--images 60000] [--folder /tmp/FOLDER] [--remote s3]

The benchmark generates images of 8 by 8 pixels and pushes them to a remote on the same disk or, with `--remote s3`, to
an S3 server on this machine (moto in this process, whose CPU seconds are not counted; 16,000 images take two minutes).
`status` is measured on the second of two consecutive runs, in a separate process; `pull` starts with an empty cache and
working folder; `check` follows a `watch`, as in a project that has run. Targets: a total that is 20 times smaller with
shards, and `check` in 2 s. Both targets apply to the CPU seconds, which depend less on other programs than the
wall-clock seconds printed with them.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import logging
import os
import re
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import copies
import numpy as np

from sightline.datasets import raw_set
from sightline.imaging.decode import encode_png

TARGET, MOST_SECONDS = 20.0, 2.0
CLASSES = 10
KINDS = ("files", "shards")


def images(count: int) -> Iterator[raw_set.RawImage]:
    """Yields images of noise, in order of their ids."""
    noise = np.random.default_rng(0)
    for number in range(count):
        data = encode_png(noise.integers(0, 256, (8, 8, 1), np.uint8))
        label = str(number * CLASSES // count)
        id_, digest = f"{label}/{number:06}.png", hashlib.sha256(data).hexdigest()
        yield raw_set.RawImage(id_, data, label, None, None, None, digest, "PNG", 8, 8)


@contextlib.contextmanager
def s3_server() -> Iterator[str]:
    """Runs an S3 server with one bucket for each kind, and yields its address."""
    import boto3
    from moto.server import ThreadedMotoServer

    os.environ |= {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_DEFAULT_REGION": "us-east-1"}
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        for kind in KINDS:
            boto3.client("s3", endpoint_url=f"http://{host}:{port}").create_bucket(Bucket=f"bucket-{kind}")
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def make(root: Path, count: int, server: str | None) -> dict[str, Path]:
    """Makes two copies of the project, with the images in `data/set` as files and as shards, respectively.

    Args:
        root: Folder for the copies.
        count: Number of images.
        server: Address of the S3 server for the remotes; None for remotes below `root`.
    """
    projects = {kind: root / kind for kind in KINDS}
    for kind, project in projects.items():
        copies.make(project)
        folder = project / "data" / "set"
        folder.mkdir(parents=True)
        if kind == "shards":
            raw_set.write_raw_shards(images(count), folder)
        else:
            for label in range(CLASSES):
                (folder / str(label)).mkdir()
            for image in images(count):
                (folder / image.id).write_bytes(image.data)
        remote = f"s3://bucket-{kind}/set" if server else str(root / f"{kind} remote")
        copies.run(project, "dvc", "remote", "add", "--quiet", "--default", "there", remote)
        if server:
            copies.run(project, "dvc", "remote", "modify", "--quiet", "there", "endpointurl", server)
        copies.run(project, "dvc", "add", "--quiet", "data/set")
    return projects


@dataclass(frozen=True)
class Cost:
    """Wall-clock and CPU seconds of a command."""

    clock: float
    processors: float

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.clock + other.clock, self.processors + other.processors)

    def __str__(self) -> str:
        return f"{self.clock:.2f} s ({self.processors:.2f} s of the processors)"


def cost(project: Path, *command: str) -> Cost:
    """Runs a command, and returns its cost."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    copies.run(project, *command)
    clock, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(clock, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def measure(project: Path) -> dict[str, Cost]:
    """Returns the cost of each command on the set."""
    taken = {"push": cost(project, "dvc", "push", "--quiet", "data/set")}
    copies.run(project, "dvc", "status", "data/set.dvc")
    taken["status"] = cost(project, "dvc", "status", "data/set.dvc")
    shutil.rmtree(project / ".dvc" / "cache")
    shutil.rmtree(project / "data" / "set")
    taken["pull"] = cost(project, "dvc", "pull", "--quiet", "data/set")
    return taken


def choose_files(project: Path) -> None:
    """Configures the folder of files as the source."""
    params = project / "params.yaml"
    text = re.sub(r"(?m)^  source: digits.*$", "  source: folder", params.read_text(), count=1)
    params.write_text(re.sub(r"(?m)^  path: null.*$", "  path: data/set", text, count=1))


def check_cost(project: Path) -> Cost:
    """Returns the cost of `sightline check` after `watch` has recorded the source."""
    time.sleep(2.1)  # digests of files younger than two seconds are not cached
    copies.run(project, "dvc", "repro", "--quiet", "watch")
    return cost(project, "bash", "-c", "sightline check; [ $? = 1 ]")  # exit code 1: the other stages have not run


def main() -> None:
    """Prints a line for each command, the ratio of the totals, and the time of `sightline check`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--folder", type=Path, help="working folder; default: a new temporary folder")
    parser.add_argument("--remote", choices=["folder", "s3"], default="folder")
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(dir=arguments.folder))
        server = stack.enter_context(s3_server()) if arguments.remote == "s3" else None
        projects = make(Path(folder), arguments.images, server)
        taken = {kind: measure(project) for kind, project in projects.items()}
        for name, value in taken["files"].items():
            print(f"{name:8} {value} as files, {taken['shards'][name]} as shards")
        sums = [functools.reduce(Cost.__add__, taken[kind].values()) for kind in KINDS]
        ratio = sums[0].processors / sums[1].processors
        verdict = "reached" if ratio >= TARGET else "missed"
        print(f"ratio {ratio:.1f} (clock {sums[0].clock / sums[1].clock:.1f}), target {TARGET:g}: {verdict}")
        choose_files(projects["files"])
        for kind in ("tracked by DVC", "not tracked"):
            check = check_cost(projects["files"])
            verdict = "reached" if check.processors <= MOST_SECONDS else "missed"
            print(f"check, images {kind}: {check}, target {MOST_SECONDS:g}: {verdict}")
            (projects["files"] / "data" / "set.dvc").unlink(missing_ok=True)


if __name__ == "__main__":
    main()
