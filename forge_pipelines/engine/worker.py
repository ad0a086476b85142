"""`python -m forge_pipelines.engine.worker DESCRIPTOR WORK`: does what it is sent, one batch after the other."""

import pickle
import signal
import socket
import sys
from typing import Any

from forge_pipelines.channel import receive, send
from forge_pipelines.engine.work import Work
from forge_pipelines.errors import ForgeError


def main(descriptor: int, work: Work) -> None:
    """Say that the work is prepared, with None, then answer each batch with its result.

    In the place of either stands an error that the work raised and that a person can act on.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends this process
    with socket.socket(fileno=descriptor) as channel:
        channel.set_inheritable(False)
        try:
            do = work.prepare()
        except ForgeError as error:
            _answer(channel, error)
            return
        _answer(channel, None)
        while (batch := receive(channel)) is not None:
            try:
                result = do(pickle.loads(batch))
            except ForgeError as error:
                result = error
            _answer(channel, result)


def _answer(channel: socket.socket, answer: Any) -> None:
    send(channel, pickle.dumps(answer, pickle.HIGHEST_PROTOCOL))


if __name__ == "__main__":
    main(int(sys.argv[1]), Work.model_validate_json(sys.argv[2]))
