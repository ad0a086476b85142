"""How two processes on this machine talk: bytes behind their length over a socket, or lines of JSON from a child."""

import math
import os
import select
import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Literal, TextIO

from forge_pipelines.manifest import Value

_LENGTH = struct.Struct("!Q")


def send(channel: socket.socket, payload: bytes) -> None:
    """Send one frame.

    Raises:
        OSError: the other side is gone, or took nothing for the channel's timeout.
    """
    channel.sendall(_LENGTH.pack(len(payload)) + payload)


def receive(channel: socket.socket) -> bytes | None:
    """Return one frame; None when the other side is gone, or sent nothing for the channel's timeout."""
    try:
        length = _receive_exactly(channel, _LENGTH.size)
        return _receive_exactly(channel, *_LENGTH.unpack(length))
    except (EOFError, ConnectionResetError, TimeoutError):
        return None


def _receive_exactly(channel: socket.socket, num_bytes: int) -> bytes:
    payload = bytearray(num_bytes)
    view = memoryview(payload)
    while view:
        received = channel.recv_into(view)
        if received == 0:
            raise EOFError
        view = view[received:]
    return bytes(payload)


def speakers(channels: Iterable[int], seconds: float = math.inf) -> list[int]:
    """Wait so long until something is said on one of some descriptors, or its other side ends; return all such."""
    poll = select.poll()
    for descriptor in channels:
        poll.register(descriptor, select.POLLIN)
    return [descriptor for descriptor, _ in poll.poll(None if math.isinf(seconds) else max(0.0, seconds) * 1000)]


class Refused(Value):
    """Why a process does not do what it was asked, in words."""

    kind: Literal["refused"] = "refused"
    message: str


@contextmanager
def standard_output() -> Iterator[TextIO]:
    """Give standard output for lines; what libraries print there from now on goes to standard error, the log."""
    with os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8") as lines:
        os.dup2(2, 1)
        yield lines


def answer(work: Callable[[], Value], refusal: type[Exception]) -> int:
    """Write what a piece of work gives to standard output as one line of JSON, and return the process's exit code.

    Args:
        work: gives the answer; any exception but a refusal is the caller's.
        refusal: what it raises where the answer is `Refused`, with the exception's words.

    Returns:
        0, or 1 after a refusal.
    """
    with standard_output() as lines:
        try:
            said, code = work(), 0
        except refusal as error:
            said, code = Refused(message=str(error)), 1
        lines.write(said.model_dump_json() + "\n")
    return code
