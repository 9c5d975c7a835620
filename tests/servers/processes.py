"""MariaDB and PostgreSQL as private processes of the tests, an S3 server, and the path of a browser."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from sightline.core.files import die_with_parent

USER = "pipe"
PASSWORD = "c4nary p@ss:w/rd% 1"  # with characters that must be encoded in a URL


def url(scheme: str, port: int) -> str:
    return f"{scheme}://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/images"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def ensure(program: str, package: str) -> str:
    """Returns the path of a server's program; if it is missing, installs it on CI and skips the test elsewhere."""
    places = [*os.environ["PATH"].split(":"), "/usr/sbin", *map(str, Path("/usr/lib/postgresql").glob("*/bin"))]
    if found := shutil.which(program, path=":".join(places)):
        return found
    if os.environ.get("CI") != "true" or not shutil.which("apt-get"):
        pytest.skip(f"{program} is not installed: apt-get install --no-install-recommends {package}")
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    subprocess.run([*sudo, "apt-get", "update", "-qq"], check=True)
    install = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "-qq", "--no-install-recommends"]
    subprocess.run([*sudo, *install, package], check=True)
    found = shutil.which(program, path=":".join([*places, *map(str, Path("/usr/lib/postgresql").glob("*/bin"))]))
    assert found, f"{package} was installed and has no {program}"
    return found


def browser_program() -> str:
    """Returns the path of a Chromium, under any of its usual names."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None) or ensure("chromium", "chromium")


@contextlib.contextmanager
def s3(*buckets: str) -> Iterator[dict[str, str]]:
    """Runs an S3 server with empty buckets in this process; yields environment variables that point clients to it."""
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "someone",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            import boto3

            for bucket in buckets:
                boto3.client("s3").create_bucket(Bucket=bucket)
            yield environment
    finally:
        server.stop()


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """Yields a folder directly in /tmp, since socket paths must be short and PostgreSQL's user needs access."""
    path = Path(tempfile.mkdtemp(prefix="sightline-", dir="/tmp"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def running(
    command: list[str], log: Path, port: int, stop: signal.Signals, own_group: bool = False
) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, preexec_fn=die_with_parent, start_new_session=own_group
        )
    try:
        deadline = time.monotonic() + 240
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} did not start:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)
        yield process
    finally:
        process.send_signal(stop)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def mariadb_command(root: Path) -> tuple[list[str], int, Path]:
    """Creates an empty MariaDB's files in a folder; returns the command that serves them, its port and its socket."""
    server, install = ensure("mariadbd", "mariadb-server"), ensure("mariadb-install-db", "mariadb-server")
    data, sock, port = root / "data", root / "sock", free_port()
    who = [f"--user={'root' if os.geteuid() == 0 else os.environ.get('USER', '')}"]
    normal = ["--auth-root-authentication-method=normal", "--skip-test-db", f"--datadir={data}"]
    subprocess.run([install, "--no-defaults", *who, *normal], check=True, stdout=subprocess.DEVNULL)
    options = [f"--datadir={data}", f"--socket={sock}", f"--pid-file={root / 'pid'}", f"--port={port}"]
    options += ["--bind-address=127.0.0.1", "--skip-name-resolve", "--innodb-flush-log-at-trx-commit=0"]
    options += ["--innodb-buffer-pool-size=64M", "--innodb-log-file-size=32M", "--max-allowed-packet=64M"]
    return [server, "--no-defaults", *who, *options], port, sock


def mariadb_images(sock: Path) -> None:
    """Creates the database that `url` names, and its user."""
    statements = (
        "CREATE DATABASE images CHARACTER SET utf8mb4; "
        f"CREATE USER '{USER}'@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'; "
        f"GRANT ALL ON images.* TO '{USER}'@'127.0.0.1'"
    )
    client = ensure("mariadb", "mariadb-client")
    subprocess.run([client, "--no-defaults", f"--socket={sock}", "-uroot", "-e", statements], check=True)


@contextlib.contextmanager
def mariadb() -> Iterator[tuple[str, Path]]:
    """Runs a MariaDB; yields its URL and its administrator's socket."""
    with folder() as root:
        command, port, sock = mariadb_command(root)
        with running(command, root / "log", port, signal.SIGTERM):
            mariadb_images(sock)
            yield url("mysql", port), sock


@contextlib.contextmanager
def postgresql() -> Iterator[str]:
    """Runs a PostgreSQL server; yields its URL."""
    initdb, server, client = (ensure(name, "postgresql") for name in ("initdb", "postgres", "psql"))
    with folder() as root:
        data, port, secret = root / "data", free_port(), root / "password"
        secret.write_text(PASSWORD)
        as_user: list[str] = []
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            as_user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--pdeathsig", "KILL"]
            for path in (root, secret):
                shutil.chown(path, "nobody", "nogroup")
        make = ["-D", str(data), "-U", USER, "-A", "scram-sha-256", f"--pwfile={secret}", "--no-sync", "-E", "UTF8"]
        # A locale that does not sort strings by their bytes, as on most servers.
        make += ["--locale-provider=icu", "--icu-locale=en-US", "--locale=C.UTF-8"]
        subprocess.run([*as_user, initdb, *make], check=True, stdout=subprocess.DEVNULL, cwd="/")
        settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": str(root), "fsync": "off"}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        command = [*as_user, server, "-D", str(data), "-p", str(port), *options]
        with running(command, root / "log", port, signal.SIGINT):
            make = [
                client,
                "-h",
                "127.0.0.1",
                "-p",
                str(port),
                "-U",
                USER,
                "-d",
                "postgres",
                "-qc",
                "CREATE DATABASE images",
            ]
            subprocess.run(make, check=True, env={**os.environ, "PGPASSWORD": PASSWORD})
            yield url("postgresql", port)
