"""How two processes on this machine talk: bytes behind their length, over a socket."""

import socket
import struct

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
