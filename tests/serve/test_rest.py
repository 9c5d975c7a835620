"""The REST server on a real socket: what it answers, refuses and survives."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.predict.bundle import Bundle
from tests import bundles
from tests.serve.conftest import COMMAND, Served, serve
from tests.stages.ingest.helpers import spellings

HEAD = b"POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: image/png\r\ncontent-length: "
ALL = "0.0.0.0"  # noqa: S104 - what is tested is that it is refused
KEY = "a key that nobody would guess"
PNG = {"content-type": "image/png"}
HEALTH = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def images() -> list[bytes]:
    return [one.data for one in bundles.encoded("fashion-mnist", 8)]


def post(server: Served, body: bytes, **headers: str) -> requests.Response:
    kind = {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.post(f"{server.url}/predict", data=body, headers=kind or PNG, timeout=30)


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_three_encodings_one_answer(server: Served, images: list[bytes]) -> None:
    url = f"{server.url}/predict?top_k=10"
    raw = [requests.post(url, data=data, headers=PNG, timeout=30).json()["predictions"][0] for data in images]
    form = requests.post(url, files=[("image", (f"{i}.png", data)) for i, data in enumerate(images)], timeout=30).json()
    sent = {"images": [encoded(images[0]), *({"name": "x", "data": encoded(data)} for data in images[1:])]}
    plain = requests.post(url, json=sent, timeout=30).json()
    assert [row["path"] for row in form["predictions"]] == [f"{i}.png" for i in range(len(images))]
    expected = list(Bundle.load(server.bundle).predict(images, top_k=10))
    for rows in (raw, form["predictions"], plain["predictions"]):
        assert [row["label"] for row in rows] == [p.label for p in expected]
        for row, p in zip(rows, expected, strict=True):
            shares = {one["label"]: one["probability"] for one in row["top"]}
            assert shares == pytest.approx(dict(p.top), abs=1e-6)
    assert form["model"] == Bundle.load(server.bundle).digest


def test_any_spelling_of_base64_is_one_image(server: Served, images: list[bytes]) -> None:
    sent = list(spellings(images[0]).values())
    rows = requests.post(f"{server.url}/predict", json={"images": sent}, timeout=30).json()["predictions"]
    assert {row["probability"] for row in rows} == {rows[0]["probability"]}
    assert [row["error"] for row in rows] == [None] * len(sent)


def test_of_several_images_the_bad_one_has_a_row(server: Served, images: list[bytes]) -> None:
    files = [("image", ("a.png", images[0])), ("image", ("b.png", b"no image at all")), ("image", ("c.png", images[0]))]
    answer = requests.post(f"{server.url}/predict", files=files, timeout=30)
    assert answer.status_code == 200
    assert [row["error"] for row in answer.json()["predictions"]] == [None, "not_an_image", None]


def test_the_threshold_makes_it_abstain(server: Served, images: list[bytes]) -> None:
    answer = requests.post(f"{server.url}/predict?threshold=1&top_k=2", data=images[0], headers=PNG, timeout=30).json()
    (row,) = answer["predictions"]
    assert (row["label"], row["abstained"], len(row["top"])) == (None, True, 2)


@pytest.mark.parametrize(
    ("body", "kind", "status", "error"),
    [
        (b"no image at all", "image/png", 422, "not_an_image"),
        (b"", "image/png", 422, "empty"),
        (b"\x89PNG\r\n\x1a\n", "image/png", 422, "corrupt"),
        (b"x", "text/plain", 415, "unsupported_media_type"),
        (b"{", "application/json", 400, "bad_json"),
        (b"[" * 100_000, "application/json", 400, "bad_json"),
        (b'{"images": 3}', "application/json", 400, "bad_json"),
        (b'{"images": [3]}', "application/json", 400, "bad_json"),
        (b'{"images": []}', "application/json", 400, "no_image"),
        (b'{"images": ["\xc3\xa9"]}', "application/json", 400, "bad_base64"),
        (b'{"images": ["data:image/png;base64,!"]}', "application/json", 400, "bad_base64"),
        (json.dumps({"images": [""] * 65}).encode(), "application/json", 413, "too_many_images"),
        (b"--x", "multipart/form-data", 400, "bad_form"),
        (b"nonsense", "multipart/form-data; boundary=x", 400, "bad_form"),
        (b"--x--\r\n", "multipart/form-data; boundary=x", 400, "no_image"),
        (b"x" * (32 * 2**20 + 1), "image/png", 413, "too_many_bytes"),
    ],
)
def test_what_is_wrong_is_said(server: Served, body: bytes, kind: str, status: int, error: str) -> None:
    answer = post(server, body, content_type=kind)
    assert (answer.status_code, answer.json()["error"]) == (status, error)


def test_a_form_that_is_refused_leaves_no_line_on_the_servers_terminal(server: Served) -> None:
    before = len(server.log)
    post(server, b"nonsense", content_type="multipart/form-data; boundary=x")
    time.sleep(0.2)  # for the thread that reads what the server prints
    assert [line for line in server.log[before:] if "character" in line] == []


@pytest.mark.parametrize("query", ["top_k=0", "top_k=x", "threshold=2", "threshold=nan", "threshold=x"])
def test_a_query_that_makes_no_sense(server: Served, query: str) -> None:
    answer = requests.post(f"{server.url}/predict?{query}", data=b"x", headers=PNG, timeout=30)
    assert (answer.status_code, answer.json()["error"]) == (400, "bad_query")


def test_a_declared_size_is_refused_before_it_is_sent(server: Served) -> None:
    with _connect(server) as link:
        link.sendall(HEAD + b"99999999999\r\n\r\n")
        assert b" 413 " in link.recv(4096)


def test_odd_methods_and_paths(server: Served) -> None:
    assert requests.get(f"{server.url}/predict", timeout=30).status_code == 405
    assert requests.get(f"{server.url}/../../etc/passwd", timeout=30).status_code == 404
    with _connect(server) as link:
        link.sendall(b"\x16\x03\x01 nonsense\r\n\r\n")
        assert b" 400 " in link.recv(4096)


def test_a_page_elsewhere_gets_nothing(server: Served, images: list[bytes]) -> None:
    host = server.url.removeprefix("http://").replace("127.0.0.1", "rebound.example")
    assert requests.get(f"{server.url}/model", headers={"host": host}, timeout=30).status_code == 421
    assert post(server, images[0], content_type="image/png", sec_fetch_site="cross-site").status_code == 403
    assert post(server, images[0], content_type="image/png", sec_fetch_site="same-origin").status_code == 200


def test_health_metrics_and_model(server: Served, images: list[bytes]) -> None:
    post(server, images[0])
    health = requests.get(f"{server.url}/health", timeout=30).json()
    model = requests.get(f"{server.url}/model", timeout=30).json()
    assert health == {"status": "ok", "version": model["version"]}
    assert model["classes"] == sorted(bundles.FASHION)
    assert model["card"] == bundles.CARD
    text = requests.get(f"{server.url}/metrics", timeout=30).text
    assert 'sightline_requests_total{path="/predict",status="200"}' in text
    assert 'sightline_images_total{outcome="predicted"}' in text
    assert "sightline_batch_images_bucket" in text


def test_the_description_is_true(server: Served, images: list[bytes]) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    api = requests.get(f"{server.url}/openapi.json", timeout=30).json()
    calls: list[tuple[str, str, requests.Response]] = [
        ("/predict", "post", post(server, images[0])),
        ("/predict", "post", post(server, b"x")),
        ("/predict", "post", post(server, b"x", content_type="text/plain")),
        ("/explain", "post", requests.post(f"{server.url}/explain", data=images[0], headers=PNG, timeout=30)),
        ("/explain", "post", requests.post(f"{server.url}/explain", data=b"x", headers=PNG, timeout=30)),
        *((path, "get", requests.get(server.url + path, timeout=30)) for path in ("/model", "/health")),
    ]
    for path, verb, answer in calls:
        described = api["paths"][path][verb]["responses"][str(answer.status_code)]
        schema = {**described["content"]["application/json"]["schema"], "components": api["components"]}
        jsonschema.validate(answer.json(), schema)
    assert set(api["paths"]) == {"/predict", "/explain", "/model", "/health", "/metrics"}


def test_the_explanation_finds_what_the_class_hangs_on(server: Served, images: list[bytes]) -> None:
    answered = requests.post(f"{server.url}/explain", data=images[0], headers=PNG, timeout=30).json()
    falls = [fall for line in answered["heat"]["falls"] for fall in line]
    assert len(falls) == 64
    assert min(falls) >= 0
    assert (
        answered["heat"]["lowest"]
        <= answered["heat"]["probability"]
        == pytest.approx(answered["prediction"]["top"][0]["probability"])
    )
    assert [step["name"] for step in answered["steps"]] == ["original", "resize"]
    assert base64.b64decode(answered["heat"]["png"]).startswith(b"\x89PNG")


def test_the_page_may_load_nothing_from_elsewhere(server: Served) -> None:
    answer = requests.get(f"{server.url}/", timeout=30)
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert (
        requests.get(f"{server.url}/", headers={"if-none-match": answer.headers["etag"]}, timeout=30).status_code == 304
    )


def test_a_key_is_asked_for_and_never_said(clothes: Path, images: list[bytes]) -> None:
    digest = Bundle.load(clothes).digest
    with serve(clothes, key=KEY) as server:
        url = server.url
        for path in ("/predict", "/explain"):
            assert requests.post(url + path, data=images[0], headers=PNG, timeout=30).status_code == 401
        for path, status in {"/model": 401, "/metrics": 401, "/health": 200, "/": 200, "/openapi.json": 200}.items():
            answer = requests.get(url + path, timeout=30)
            assert answer.status_code == status
            assert not any(name in answer.text for name in (*bundles.FASHION, digest)), path
        for shown in ({"x-api-key": KEY}, {"authorization": f"Bearer {KEY}"}):
            answer = requests.post(f"{url}/predict", data=images[0], headers={**PNG, **shown}, timeout=30)
            assert answer.status_code == 200
        assert requests.get(f"{url}/model", headers={"x-api-key": f"{KEY}!"}, timeout=30).status_code == 401
        arguments = Path(f"/proc/{server.process.pid}/cmdline").read_bytes()
    assert KEY.encode() not in arguments
    assert KEY not in "".join(server.log)


@pytest.mark.parametrize(
    ("arguments", "key", "message"),
    [
        (["--host", ALL], "", "set SIGHTLINE_API_KEY"),
        ([], "short", "fewer than 16 characters"),
        (["--host", "203.0.113.7"], KEY, "choose others"),
    ],
)
def test_a_server_that_cannot_be_is_one_line(clothes: Path, arguments: list[str], key: str, message: str) -> None:
    environment = {**os.environ, "SIGHTLINE_API_KEY": key}
    done = subprocess.run([*COMMAND, str(clothes), "--port", "0", *arguments], capture_output=True, env=environment,
                          text=True, check=False, timeout=60)  # fmt: skip
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert message in done.stderr


def test_a_port_that_is_taken_is_one_line_with_the_next(clothes: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = subprocess.run([*COMMAND, str(clothes), "--port", str(port)], capture_output=True, text=True,
                              check=False, timeout=60)  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == (
        f"sightline: --host 127.0.0.1 --port {port}: Address already in use; choose another, "
        f"such as --port {port + 1}\n"
    )


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_what_was_begun_is_answered_and_nothing_is_left(clothes: Path, images: list[bytes], sign: int) -> None:
    with serve(clothes) as server:
        body = b"x" * 1000
        with _connect(server) as link:
            link.sendall(HEAD + b"1000\r\nexpect: 100-continue\r\n\r\n" + body[:500])
            assert b" 100 " in link.recv(4096)  # the body is being read
            server.process.send_signal(sign)
            while _takes_clients(server):
                time.sleep(0.02)
            link.sendall(body[500:])
            assert b" 422 " in link.recv(4096)
        server.process.wait(60)
        assert not _children(server.process.pid)
        assert not _takes_clients(server)
    assert "Traceback" not in "".join(server.log)


def test_slow_clients_are_sent_away(clothes: Path) -> None:
    with serve(clothes, "--seconds", "0.5") as server:
        with _connect(server) as link:
            link.sendall(HEAD + b"9\r\n\r\nx")
            assert b" 408 " in link.recv(4096)
        with _connect(server) as link:
            link.sendall(b"POST /pre")
            assert link.recv(4096) == b""


@pytest.fixture(scope="module")
def impatient(clothes: Path) -> Iterator[Served]:
    with serve(clothes, "--seconds", "0.5") as served:
        yield served


@pytest.mark.parametrize("second", [b"G", b"GET /health HTTP/1.1\r\nhost: localhost\r\nx: "])
def test_a_second_request_has_to_end_as_the_first(impatient: Served, second: bytes) -> None:
    with _connect(impatient) as link:
        link.sendall(HEALTH + second)
        assert b" 200 " in _until_closed(link)


def test_a_body_that_nobody_reads_has_to_end(impatient: Served) -> None:
    with _connect(impatient) as link:
        link.sendall(HEALTH.replace(b"\r\n\r\n", b"\r\ncontent-length: 99\r\n\r\nx"))
        assert link.recv(4096)
        link.sendall(b"x")  # from the first byte on, uvicorn's own timer is off
        _until_closed(link)


def test_answers_have_to_be_read(impatient: Served) -> None:
    with socket.socket() as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        link.connect(_address(impatient))
        link.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                link.send(b"GET /page/style.css HTTP/1.1\r\nhost: localhost\r\n\r\n" * 100)
        watched = select.poll()
        watched.register(link, 0)  # nothing but that the other end has hung up
        assert watched.poll(60_000)


def test_a_patient_client_is_kept(impatient: Served, images: list[bytes]) -> None:
    with requests.Session() as session:
        for _ in range(3):
            assert session.get(f"{impatient.url}/health", timeout=30).ok
            assert session.post(f"{impatient.url}/predict", data=images[0], headers=PNG, timeout=30).ok
            time.sleep(0.7)
        (pool,) = session.get_adapter(impatient.url).poolmanager.pools._container.values()
        assert pool.num_connections == 1


@pytest.mark.skipif(sys.platform != "linux", reason="counts segments with Linux's TCP_INFO")
def test_an_answer_waits_for_no_acknowledgement(server: Served) -> None:
    spent, length = [], 1
    with _connect(server) as link:
        for _ in range(20):
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)  # acknowledge late, with what is sent next
            before = _segments_sent(link)
            link.sendall(HEALTH)
            while _unread(link) < length:  # to read would be to acknowledge
                time.sleep(0.001)
            spent.append(_segments_sent(link) - before)
            answer = b""
            while not answer.endswith(b"}"):
                answer += link.recv(4096)
            length = len(answer)
    # A round trip is a request and its answer. A server that holds back the body after the head needs a second one, of
    # an acknowledgement; a slow machine may acknowledge before it gets to count, but not each time.
    assert spent[1:].count(1) > len(spent) / 2, spent


def test_no_redirect_to_a_name_of_the_clients(server: Served) -> None:
    for path in ("/docs/", "/model/", "//docs"):
        answer = requests.get(server.url + path, allow_redirects=False, timeout=30)
        assert (answer.status_code, "location" in answer.headers) == (404, False)


@pytest.mark.parametrize("path", ["/predict", "/explain"])
def test_half_a_pair_of_surrogates_is_a_name(server: Served, images: list[bytes], path: str) -> None:
    body = json.dumps({"images": [{"name": "a\ud800b", "data": encoded(images[0])}]})
    answer = requests.post(server.url + path, data=body, headers={"content-type": "application/json"}, timeout=30)
    assert answer.status_code == 200
    answered = answer.json()
    assert (answered["predictions"][0] if path == "/predict" else answered["prediction"])["path"] == "a\\ud800b"


HALVES = st.sampled_from(["\ud800", "\udc80", "\udfff"])  # of pairs of surrogates: JSON can hold them, UTF-8 cannot
TEXT = st.lists(st.integers(0, 0x10FFFF).map(chr) | HALVES, max_size=20).map("".join)
VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.integers(10**20, 10**400) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT | st.sampled_from(["name", "data"]), inner),
    max_leaves=10,
)
SENT = st.builds(lambda name, data: {"name": name, "data": data}, TEXT | VALUES, st.just("") | VALUES)
NAMED = TEXT.map(lambda name: json.dumps({"image": {"name": name, "data": ""}}).encode())
BODIES = st.one_of(
    NAMED,
    st.builds(lambda sent: json.dumps({"images": sent}).encode(), st.lists(SENT, max_size=3) | VALUES),
    st.builds(lambda value, way: json.dumps(value).encode(way), VALUES, st.sampled_from(["utf-8", "utf-16", "utf-32"])),
    st.builds(
        lambda depth, key, mark: f'{{"images":[{{"{key}":{mark[0] * depth}1{mark[1] * depth}}}]}}'.encode(),
        st.integers(0, 30_000),
        st.sampled_from(["name", "data", "x"]),
        st.sampled_from([("[", "]"), ('{"a":', "}")]),
    ),
    st.integers(1, 9999).map(lambda digits: b'{"images":' + b"9" * digits + b"}"),
    st.binary(max_size=200),
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(body=BODIES, path=st.sampled_from(["/predict", "/explain"]))
def test_no_json_makes_the_server_fail(server: Served, body: bytes, path: str) -> None:
    answer = requests.post(server.url + path, data=body, headers={"content-type": "application/json"}, timeout=30)
    assert answer.status_code < 500
    assert answer.json()


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    query=st.sampled_from(["top_k", "threshold"]),
    value=st.text() | st.integers().map(str) | st.floats().map(str) | st.integers(4000, 5000).map(lambda n: "9" * n),
    name=st.binary(max_size=30),
    charset=st.sampled_from(
        ["utf-8", "utf-7", "utf-16", "latin-1", "idna", "punycode", "rot13", "unicode_escape", "x"]
    ),
)
def test_no_form_and_no_query_makes_it_fail(server: Served, query: str, value: str, name: bytes, charset: str) -> None:
    part = b'--b\r\ncontent-disposition: form-data; name="image"; filename="' + name + b'"\r\n\r\nx\r\n--b--\r\n'
    kind = {"content-type": f"multipart/form-data; boundary=b; charset={charset}"}
    for given_query in ({}, {query: value}):
        answer = requests.post(f"{server.url}/predict", data=part, params=given_query, headers=kind, timeout=30)
        assert 400 <= answer.status_code < 500
        assert answer.json()["error"]


def test_clients_that_go_away_and_many_at_once(server: Served, images: list[bytes]) -> None:
    for _ in range(20):
        with _connect(server) as link:
            link.sendall(HEAD + b"9\r\n\r\nx")
    statuses: list[int] = []

    def ask() -> None:
        with requests.Session() as session:
            answers = [session.post(f"{server.url}/predict", data=data, headers=PNG, timeout=30) for data in images]
            statuses.extend(answer.status_code for answer in answers)

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 16 * len(images)
    assert "Traceback" not in "".join(server.log)


WATCHED = """
import sys
def watch(event, arguments):
    if event in ("pickle.find_class", "socket.connect", "subprocess.Popen", "os.system", "os.fork"):
        print("ASKED", event, arguments, file=sys.stderr, flush=True)
    if event == "import" and arguments[0].partition(".")[0] in ("torch", "mlflow", "pandas", "fsspec"):
        print("ASKED", arguments[0], file=sys.stderr, flush=True)
sys.addaudithook(watch)
from sightline.cli import app
app()
"""


def test_it_unpickles_nothing_calls_nobody_and_starts_no_process(clothes: Path, images: list[bytes]) -> None:
    with serve(clothes, code=WATCHED) as server:
        for data in (images[0], b"x"):
            post(server, data)
            requests.post(f"{server.url}/predict", files={"image": data}, timeout=30)
            requests.post(f"{server.url}/explain", data=data, headers=PNG, timeout=30)
        for path in ("/", "/docs", "/model", "/metrics", "/openapi.json"):
            assert requests.get(server.url + path, timeout=30).status_code == 200
    assert [line for line in server.log if "ASKED" in line] == []


def _address(server: Served) -> tuple[str, int]:
    host, port = server.url.removeprefix("http://").split(":")
    return host, int(port)


def _connect(server: Served) -> socket.socket:
    return socket.create_connection(_address(server), timeout=60)


def _takes_clients(server: Served) -> bool:
    with contextlib.suppress(ConnectionError), _connect(server):
        return True
    return False


def _segments_sent(link: socket.socket) -> int:
    """Returns how many TCP segments this end has sent: tcpi_segs_out of Linux's tcp_info."""
    return int(struct.unpack_from("=I", link.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256), 136)[0])


def _unread(link: socket.socket) -> int:
    """Returns how many bytes have come and were not read."""
    return int(struct.unpack("=i", fcntl.ioctl(link, termios.FIONREAD, bytes(4)))[0])


def _until_closed(link: socket.socket) -> bytes:
    """Returns all that the server sends until it ends the connection; fails if nothing comes for a minute."""
    response = b""
    while more := link.recv(4096):
        response += more
    return response


def _children(pid: int) -> list[Any]:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    return children.read_text().split() if children.exists() else []
