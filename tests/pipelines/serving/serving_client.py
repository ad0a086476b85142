"""The endpoint as a test sees it: a process, what it says, and clients of it."""

import json
import queue
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import openai
import psutil

_PROGRAM = Path(__file__).with_name("serving_endpoint.py")


class Endpoint:
    """A running endpoint over a folder of models."""

    def __init__(self, root: Path, waiting: int = 32) -> None:
        self.root = root
        command = [sys.executable, str(_PROGRAM), str(root), str(waiting)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.said: list[str] = []
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.wait_for('ready').split()[1]}"

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.rstrip())

    def wait_for(self, words: str, seconds: float = 60) -> str:
        """Return the next line that has these words."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                self.said.append(self._lines.get(timeout=max(0.0, deadline - time.monotonic())))
            except queue.Empty:
                raise AssertionError(f"«{words}» was not said; there was {self.said}") from None
            if words in self.said[-1]:
                return self.said[-1]

    def client(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0, timeout=60)

    def sent(self, body: dict[str, Any], receive_bytes: int = 65536) -> socket.socket:
        """Ask for a completion, and read nothing of the answer."""
        content = json.dumps({"model": "tiny", **body}).encode()
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        host, port = self.url.removeprefix("http://").split(":")
        client.connect((host, int(port)))
        head = f"POST /v1/completions HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        client.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
        return client

    def descendants(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def engine(self) -> psutil.Process:
        """The one `transformers serve`, not its guard."""
        (engine,) = [found for found in self.descendants() if found.cmdline()[1:3] == ["-P", "-c"]]
        return engine
