"""A TCP port of this machine that leads to a server on a Unix socket, and can be cut."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any


class Relay:
    """Passes on what comes to its port, until it is cut; then it refuses until it is mended."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.open: list[socket.socket] = []
        self.num_connections = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self._listen()

    def cut(self) -> None:
        for each in (self.listener, *self.open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self.open.clear()

    def mend(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", self.port))
        self._listen()

    def resolve(self, *addresses: str) -> Callable[..., list[tuple[Any, ...]]]:
        """A name service that knows these addresses of every name, one after the other; the last for good."""
        left = list(addresses)

        def resolve(host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
            address = left.pop(0) if len(left) > 1 else left[0]
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

        return resolve

    def _listen(self) -> None:
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(self.target)
            self.num_connections += 1
            self.open += [client, server]
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=_pump, args=(source, target), daemon=True).start()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


@contextmanager
def relay(target: str) -> Iterator[Relay]:
    opened = Relay(target)
    try:
        yield opened
    finally:
        opened.cut()
