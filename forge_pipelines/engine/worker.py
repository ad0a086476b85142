"""`python -m forge_pipelines.engine.worker DESCRIPTOR WORK`: does what it is sent, one batch after the other."""

import pickle
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

from forge_pipelines.channel import receive, send
from forge_pipelines.engine.work import Work
from forge_pipelines.errors import ForgeError


def main(descriptor: int, work: Work) -> None:
    """Answer each batch with its result, or with the error that the work raised and that a person can act on."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends this process
    with socket.socket(fileno=descriptor) as channel:
        channel.set_inheritable(False)
        do = _prepared(work)
        while (batch := receive(channel)) is not None:
            try:
                result = do(pickle.loads(batch))
            except ForgeError as error:
                result = error
            send(channel, pickle.dumps(result, pickle.HIGHEST_PROTOCOL))


def _prepared(work: Work) -> Callable[[Any], Any]:
    """Return what the work does, or what raises the error that its preparation raised: it is told as a result is."""
    try:
        return work.prepare()
    except ForgeError as error:
        told = error

    def fail(_batch: Any) -> Any:
        raise told

    return fail


if __name__ == "__main__":
    main(int(sys.argv[1]), Work.model_validate_json(sys.argv[2]))
