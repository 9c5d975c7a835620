"""A TCP proxy that cuts connections, as happens on real networks."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any


class Proxy:
    """Forwards bytes between its port and a server's, and cuts connections after given numbers of bytes.

    Attributes:
        port: The port to connect to.
        cuts: Number of connections that it has cut.
    """

    def __init__(self, target: int, cut_after: list[int], ignore_below: int = 0) -> None:
        """Starts listening.

        Args:
            target: The server's port on 127.0.0.1.
            cut_after: Numbers of bytes from the server after which to cut a connection, once each, on any connection.
            ignore_below: Connections that have passed fewer bytes (monitors, handshakes) are not cut.
        """
        self._target, self._cut_after, self._ignore = target, list(cut_after), ignore_below
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self.port: int = self._listener.getsockname()[1]
        self.cuts = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                for end in (client, server):  # a part that is passed on does not wait for the one before
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._pump, args=(client, server, False), daemon=True).start()
                threading.Thread(target=self._pump, args=(server, client, True), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, downstream: bool) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while part := source.recv(4096):
                passed += len(part)
                sink.sendall(part)
                with self._lock:
                    if downstream and self._cut_after and passed >= max(self._cut_after[0], self._ignore):
                        self._cut_after.pop(0)
                        self.cuts += 1
                        break
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def close(self) -> None:
        self._listener.close()


@contextlib.contextmanager
def proxy(*arguments: Any) -> Iterator[Proxy]:
    made = Proxy(*arguments)
    try:
        yield made
    finally:
        made.close()
