"""A site's embedded PostgreSQL, as a test takes it away."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil


@contextmanager
def server_away(home: Path) -> Iterator[None]:
    """Kill the server of a FORGE_HOME, and keep it from being started again while the context lasts."""
    keeper = next(process for process in psutil.process_iter() if _keeps(process, home))
    server = psutil.Process(int((home / "postgres" / "data" / "postmaster.pid").read_text().split()[0]))
    keeper.suspend()
    try:
        for process in [server, *server.children()]:
            with suppress(psutil.NoSuchProcess):  # a server's processes end by themselves when it has ended
                process.kill()
        psutil.wait_procs([server], timeout=1)
        yield
    finally:
        keeper.resume()


def _keeps(process: psutil.Process, home: Path) -> bool:
    try:
        words = process.cmdline()
    except psutil.Error:
        return False
    return "forge_pipelines.ledger.keeper" in words and str(home) in words
