"""A web server that answers as few do: without a length, without an end, with a fault, or never."""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any


class _Odd(http.server.SimpleHTTPRequestHandler):
    """Shows a folder; the beginning of a file's name says how it is sent."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the method's parameter
        pass

    def do_GET(self) -> None:
        """Sends a file, or the list of a folder."""
        kind, dash, _ = Path(self.path).name.partition("-")
        if not dash:
            super().do_GET()
        elif kind == "moved":
            self.send_response(302)
            self.send_header("Location", self.path.replace("moved-", ""))
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif kind == "fault":
            self.send_error(500)
        else:
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            data = Path(self.translate_path(self.path)).read_bytes()
            with contextlib.suppress(OSError):  # the client has gone
                self._send(kind, data)

    def _send(self, kind: str, data: bytes) -> None:
        half = len(data) // 2
        self._chunk(data[:half])
        if kind == "silent":
            self.rfile.read()  # until the client goes
        while kind == "endless":
            self._chunk(bytes(2**20))
        threading.Event().wait(0.1)  # the first half arrives alone
        self._chunk(data[half:])
        self._chunk(b"")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()


@contextlib.contextmanager
def odd_web(root: Path) -> Iterator[str]:
    """Shows a folder, and yields its address."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Odd, directory=str(root))) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
