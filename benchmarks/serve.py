"""The server compared with what a practitioner would deploy instead, and its behaviour under hostile requests.

    python benchmarks/serve.py compare models/bundle --source data/fashion-mnist [--requests 4000] [--rounds 3]
    python benchmarks/serve.py hostile models/bundle --source data/fashion-mnist --hostile data/hostile [--full]
        [--requests 100000] [--seed 0]

`compare` starts, one after the other, `sightline serve`, a bare FastAPI endpoint (UploadFile, Pillow, one run of ONNX
Runtime) on the same uvicorn, and `mlflow models serve` with a pyfunc model that does the same. It sends requests from
16 clients to each, one image per request, and prints the requests per second and the 99th percentile of the latency.
Targets: at least 1 and 2 times the throughput of the other two.

`hostile` sends requests from 16 clients, half of them broken, oversized or malicious (2,000; with --full, 20,000). It
prints statuses and latency, and the memory after each 20,000 requests. Targets: no 5xx, no crash, and memory growth
within 10 %.

All traffic stays on the machine's loopback interface.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import gzip
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from sightline.imaging import decode

CLIENTS = 16
GROUPS = 4
ROUND = 20_000
"""Number of hostile requests between two measurements of the server's memory."""
Request = bytes

FASTAPI = """
import io, sys
import numpy as np, onnxruntime, uvicorn
from fastapi import FastAPI, UploadFile
from PIL import Image
session = onnxruntime.InferenceSession(sys.argv[1] + "/model.onnx")
_, height, width, channels = session.get_inputs()[0].shape
app = FastAPI()

@app.post("/predict")
async def predict(image: UploadFile):
    picture = Image.open(image.file).convert("L" if channels == 1 else "RGB").resize((width, height))
    batch = np.asarray(picture).reshape(1, height, width, channels)
    (row,) = session.run(None, {"images": batch})[0]
    return {"label": int(row.argmax()), "probabilities": row.tolist()}

uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="error", access_log=False, http="h11")
"""

MLFLOW = """
import base64, io
import mlflow, numpy as np, onnxruntime, pandas as pd
from PIL import Image

class Model(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        self.session = onnxruntime.InferenceSession(context.artifacts["bundle"] + "/model.onnx")
        _, self.height, self.width, self.channels = self.session.get_inputs()[0].shape

    def predict(self, context, model_input, params=None):
        mode = "L" if self.channels == 1 else "RGB"
        pictures = [Image.open(io.BytesIO(base64.b64decode(text))).convert(mode).resize((self.width, self.height))
                    for text in model_input["image"]]
        batch = np.stack([np.asarray(p).reshape(self.height, self.width, self.channels) for p in pictures])
        return self.session.run(None, {"images": batch})[0].tolist()

mlflow.models.set_model(Model())
"""


@dataclass
class Seen:
    """Measurements by the clients."""

    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    processor: float = 0.0

    @property
    def rate(self) -> float:
        """Requests per second."""
        return len(self.latencies) / self.seconds

    @property
    def p99(self) -> float:
        """The 99th percentile of the latency, in milliseconds."""
        return 1000 * sorted(self.latencies)[int(0.99 * len(self.latencies))]


def pictures(source: Path, count: int) -> list[bytes]:
    """Returns the first `count` test images of Fashion-MNIST as PNG."""
    pixels = np.frombuffer(gzip.decompress((source / "t10k-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16)
    return [decode.encode_png(image) for image in pixels.reshape(-1, 28, 28, 1)[:count]]


def request(path: str, kind: str, body: bytes) -> Request:
    """Returns a request as the bytes that are sent."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def raw(data: bytes) -> Request:
    """A request with an image as its body."""
    return request("/predict", "image/png", data)


def form(data: bytes) -> Request:
    """A request with an image as a form's file."""
    head = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
    return request("/predict", "multipart/form-data; boundary=b", head + data + b"\r\n--b--\r\n")


def invocation(data: bytes) -> Request:
    """A request with an image in the format of MLflow's server."""
    rows = {"dataframe_split": {"columns": ["image"], "data": [[base64.b64encode(data).decode()]]}}
    return request("/invocations", "application/json", json.dumps(rows).encode())


def _client(port: int, mine: Sequence[Request]) -> list[tuple[int, float]]:
    """Sends requests one after the other over one connection, and reconnects when the server closes it.

    Returns:
        The status and latency in seconds of each request; the status is 0 if there was no answer.
    """
    seen: list[tuple[int, float]] = []
    link: socket.socket | None = None
    for one in mine:
        started = time.perf_counter()
        status, closing = 0, True  # the server closed the connection without an answer
        with contextlib.suppress(ConnectionError):
            link = link or socket.create_connection(("127.0.0.1", port), 60)
            link.sendall(one)
            status, closing = _answer(link)
        seen.append((status, time.perf_counter() - started))
        if closing and link:
            link.close()
            link = None
    if link:
        link.close()
    return seen


def _answer(link: socket.socket) -> tuple[int, bool]:
    """Reads one response; returns its status, and whether the server closes the connection."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = link.recv(2**16)
        if not more:
            raise ConnectionError
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    fields = head.lower()
    left = int(fields.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0) - len(body)
    while left > 0:
        more = link.recv(left)
        if not more:
            raise ConnectionError
        left -= len(more)
    return int(head[9:12]), b"connection: close" in fields


def _group(port: int, shares: Sequence[Sequence[Request]]) -> list[tuple[int, float]]:
    with ThreadPoolExecutor(len(shares)) as threads:
        return [one for part in threads.map(lambda share: _client(port, share), shares) for one in part]


def ask(port: int, requests: Sequence[Request]) -> Seen:
    """Sends `requests` from 16 clients at once, in four processes, since one would be slower than the servers."""
    shares = [requests[i::CLIENTS] for i in range(CLIENTS)]
    groups = [shares[i::GROUPS] for i in range(GROUPS)]
    seen = Seen()
    with ProcessPoolExecutor(GROUPS) as processes:
        list(processes.map(abs, range(GROUPS)))  # waits until they have started
        started = time.perf_counter()
        found = list(processes.map(_group, [port] * GROUPS, groups))
        seen.seconds = time.perf_counter() - started
    for status, seconds in (one for group in found for one in group):
        seen.statuses[status] += 1
        seen.latencies.append(seconds)
    return seen


@contextlib.contextmanager
def running(command: Callable[[int], list[str]], patience: float = 90) -> Iterator[tuple[int, psutil.Process]]:
    """Starts a server on a free port, waits until it listens, and finally ends it with all its processes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment, quiet = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}, subprocess.DEVNULL
    arguments = command(port)
    with subprocess.Popen(arguments, env=environment, start_new_session=True, stdout=quiet, stderr=quiet) as process:
        try:
            until = time.monotonic() + patience
            while time.monotonic() < until:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                time.sleep(0.1)
            else:
                raise TimeoutError(f"{arguments[:3]} does not answer")
            yield port, psutil.Process(process.pid)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)


def ours(bundle: Path) -> Callable[[int], list[str]]:
    """Returns a function from a port to the command that serves a bundle there."""
    code = "from sightline.cli import app; app()"
    return lambda port: [sys.executable, "-c", code, "serve", str(bundle), "--port", str(port)]


def compare(bundle: Path, source: Path, count: int, rounds: int) -> None:
    """Prints each server's throughput and latency, and the ratios."""
    drawn = pictures(source, 500)
    with tempfile.TemporaryDirectory() as temporary:
        model = _mlflow_model(bundle, Path(temporary))
        tool = Path(sys.executable).with_name("mlflow")
        serve_model = [str(tool), "models", "serve", "-m", str(model), "--env-manager", "local", "-h", "127.0.0.1"]
        contenders: dict[str, tuple[Callable[[int], list[str]], Callable[[bytes], Request]]] = {
            "sightline, form": (ours(bundle), form),
            "sightline, raw": (ours(bundle), raw),
            "bare FastAPI, form": (lambda port: [sys.executable, "-c", FASTAPI, str(bundle), str(port)], form),
            "mlflow models serve": (lambda port: [*serve_model, "-p", str(port), "--workers", "1"], invocation),
        }
        seen: dict[str, list[Seen]] = {name: [] for name in contenders}
        with contextlib.ExitStack() as stack:
            servers = {name: stack.enter_context(running(command)) for name, (command, _) in contenders.items()}
            for name, (_, encode) in contenders.items():
                _warm(servers[name][0], encode(drawn[0]))
            for _ in range(rounds):
                for name, (_, encode) in contenders.items():  # alternating, so that a busy machine slows all of them
                    share = count // 10 if name.startswith("mlflow") else count
                    port, process = servers[name]
                    before = _processor(process)
                    seen[name].append(ask(port, [encode(drawn[i % 500]) for i in range(share)]))
                    seen[name][-1].processor = _processor(process) - before
    rates = {name: statistics.median(one.rate for one in all_rounds) for name, all_rounds in seen.items()}
    for name, all_rounds in seen.items():
        assert all(set(one.statuses) == {200} for one in all_rounds), (name, all_rounds[0].statuses)
        p99 = statistics.median(one.p99 for one in all_rounds)
        each = statistics.median(1000 * one.processor / len(one.latencies) for one in all_rounds)
        print(f"{name:>20}: {rates[name]:7,.0f} requests/s, p99 {p99:6.1f} ms, processor {each:5.2f} ms a request")
    print(f"form against bare FastAPI: {rates['sightline, form'] / rates['bare FastAPI, form']:.2f}, target 1")
    print(f"form against mlflow models serve: {rates['sightline, form'] / rates['mlflow models serve']:.2f}, target 2")


def _processor(process: psutil.Process) -> float:
    """Returns the CPU seconds that a server and its children have used."""
    used = [one.cpu_times() for one in [process, *process.children(recursive=True)]]
    return sum(times.user + times.system for times in used)


def _warm(port: int, one: Request) -> None:
    for _ in range(100):  # the port may be open before the model is loaded
        if ask(port, [one] * 16).statuses[200] == 16:
            return
        time.sleep(0.3)
    raise RuntimeError(f"the server at {port} answers no request well")


def _mlflow_model(bundle: Path, folder: Path) -> Path:
    code = folder / "pyfunc_model.py"
    code.write_text(MLFLOW)
    saved = folder / "model"
    save = (
        "import mlflow, sys; mlflow.pyfunc.save_model(sys.argv[1], python_model=sys.argv[2], "
        "artifacts={'bundle': sys.argv[3]}, pip_requirements=['onnxruntime'])"
    )
    subprocess.run([sys.executable, "-c", save, str(saved), str(code), str(bundle)], check=True, capture_output=True)
    return saved


def hostile(bundle: Path, source: Path, folder: Path, count: int, seed: int) -> None:
    """Sends hostile requests, and prints the statuses, the latency and the server's memory."""
    good = [encode(data) for data in pictures(source, 300) for encode in (raw, form)]
    bad = _attacks(folder, seed)
    mixed = [bad[i // 2 % len(bad)] if i % 2 else good[i // 2 % len(good)] for i in range(count)]
    seen = Seen()
    with running(ours(bundle)) as (port, process):
        _warm(port, good[0])
        ask(port, mixed[: max(min(count, ROUND) // 4, 2000)])  # warm-up: buffers and pools reach their full size
        memory = [process.memory_info().rss / 2**20]
        for start in range(0, count, ROUND):
            part = ask(port, mixed[start : start + ROUND])
            seen.seconds += part.seconds
            seen.statuses += part.statuses
            seen.latencies += part.latencies
            memory.append(process.memory_info().rss / 2**20)
        alive = ask(port, good[:16]).statuses == {200: 16}
    print(f"{count:,} requests (seed {seed}): {dict(sorted(seen.statuses.items()))}")
    over = sum(seconds > 2 for seconds in seen.latencies)
    longest = f"longest {1000 * max(seen.latencies):.0f} ms, {over} over 2 s"
    print(f"{seen.rate:,.0f} requests/s, p99 {seen.p99:.0f} ms, {longest}")
    grown = 100 * (memory[-1] / memory[0] - 1)
    print(f"memory {' -> '.join(f'{each:.0f}' for each in memory)} MiB ({grown:+.1f} %), target +10 %")
    assert alive, "the server no longer answers"
    assert not any(status >= 500 for status in seen.statuses), "the server failed"


def _attacks(folder: Path, seed: int) -> list[Request]:
    """Returns hostile requests: each file of the corpus, and malformed, oversized or mislabelled bodies."""
    rng = np.random.default_rng(seed)
    files = [path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()]
    bad = [encode(data) for data in files for encode in (raw, form) if len(data) < 2**20]
    bomb = decode.encode_png(np.zeros((9000, 9000, 1), np.uint8))
    shapes = [
        (b"", "image/png"),
        (bomb, "image/png"),
        (rng.bytes(2**16), "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n" + rng.bytes(999), "image/png"),
        (b"{", "application/json"),
        (b"[" * 50_000, "application/json"),
        (b'{"images": ["###"]}', "application/json"),
        (b"x", "text/html"),
        (b"x", "multipart/form-data"),
        (b"--b\r\nnonsense", "multipart/form-data; boundary=b"),
    ]
    bad += [request("/predict", kind, body) for body, kind in shapes] * 8
    bad += [request("/predict?top_k=-1", "image/png", b"x"), request("/nowhere", "image/png", b"x")] * 4
    bad += [b"GARBAGE\r\n\r\n", b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n"] * 4
    return [bad[i] for i in rng.permutation(len(bad))]


def main() -> None:
    """Runs the measurement that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["compare", "hostile"])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--source", type=Path, default=Path("../shared/data/fashion-mnist"))
    parser.add_argument("--hostile", type=Path, default=Path("../shared/data/hostile"))
    parser.add_argument("--requests", type=int, help="default: compare 4000, hostile 2000")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.what == "compare":
        compare(given.bundle, given.source, given.requests or 4000, given.rounds)
    else:
        count = given.requests or (20_000 if given.full else 2_000)
        hostile(given.bundle, given.source, given.hostile, count, given.seed)


if __name__ == "__main__":
    main()
