"""HTTP servers of the tests' own: a relay that fails when it is told to, one that sends its callers elsewhere."""

import http.client
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

ALWAYS = 1_000_000


class FailingRelay(ThreadingHTTPServer):
    """Passes GET requests on to an address, and does `faults` instead, one a request, as long as there are some.

    A fault is ``busy`` (an answer of 503), ``drop`` (no answer), ``cut`` (half of the answer), or ``late`` (an answer
    after two seconds).
    """

    daemon_threads = True

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), _FailingHandler)
        self.target = urlsplit(target).netloc
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.faults: deque[str] = deque()
        self.requests: list[str] = []

    def handle_error(self, *_: Any) -> None:
        """Say nothing: who asked may have gone away."""

    def fail(self, fault: str, times: int = ALWAYS) -> None:
        """Do that for the next requests, and nothing else that was to be done."""
        self.faults = deque([fault] * times)


class _FailingHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FailingRelay

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        fault = self.server.faults.popleft() if self.server.faults else ""
        if fault == "busy":
            self._answer(503, {}, b"")
            return
        if fault == "late":
            time.sleep(2)
        if fault == "drop":
            self.close_connection = True
            return
        connection = http.client.HTTPConnection(self.server.target)
        connection.request("GET", self.path, headers=dict(self.headers.items()))
        answer = connection.getresponse()
        body = answer.read()
        self._answer(answer.status, dict(answer.getheaders()), body, len(body) // 2 if fault == "cut" else None)
        self.close_connection |= fault == "cut"
        connection.close()

    def _answer(self, status: int, headers: dict[str, str], body: bytes, num_sent: int | None = None) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in {"content-length", "transfer-encoding", "connection"}:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:num_sent])

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[None]:
    """Let a server answer for a while."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def redirecting(status: int, location: str) -> ThreadingHTTPServer:
    """Return a server that answers everything with a redirect."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response_only(status)
            self.send_header("Location", location)
            self.send_header("x-amz-bucket-region", "eu-central-1")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    return ThreadingHTTPServer(("127.0.0.1", 0), Handler)
