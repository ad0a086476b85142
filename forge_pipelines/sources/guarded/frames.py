"""What travels between the two sides: bytes behind their length; a file one way, what became of it the other."""

import socket
import struct

from pydantic import TypeAdapter

from forge_pipelines.sources.place import Refusal
from forge_pipelines.sources.readers.reading import Reading

Answer = Reading | Refusal
ANSWER: TypeAdapter[Answer] = TypeAdapter(Answer)
"""Answers as JSON: nothing that a damaged process sends may run in the one that hears it."""

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
