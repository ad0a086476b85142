"""The endpoint: a socket on loopback, the application behind it, and the service watched for as long as it stands."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator

import uvicorn

from forge_pipelines.errors import ConfigError, ForgeError, PlatformError
from forge_pipelines.serving.application import HOSTS, build_application
from forge_pipelines.serving.service import Service

_LAST_ANSWERS_SECONDS = 3


def listen(host: str, port: int) -> socket.socket:
    """Take a port on loopback; 0 is any free one.

    Raises:
        ConfigError: the host is not loopback.
        PlatformError: the port is taken.
    """
    if host not in HOSTS:
        raise ConfigError(
            f"--host {host} would open the model to other machines, and keys do not exist yet: leave it at {HOSTS[0]}"
        )
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOSTS[0], port))
        listener.listen(1024)
    except (OSError, OverflowError) as error:
        listener.close()
        why = error.strerror if isinstance(error, OSError) else error
        raise PlatformError(
            f"port {port} cannot be used ({why}): end the program that has it, or give another"
        ) from error
    return listener


async def serve(service: Service, listener: socket.socket, on_ready: Callable[[Service], None]) -> None:
    """Load the model, answer until SIGINT or SIGTERM comes, and end everything.

    Raises:
        ForgeError: the model does not verify or start, or its engine dies again and again.
    """
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    work = asyncio.create_task(_serve(service, listener, on_ready))
    waiting = asyncio.create_task(ended.wait())
    await asyncio.wait({work, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    work.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await work


async def _serve(service: Service, listener: socket.socket, on_ready: Callable[[Service], None]) -> None:
    try:
        await service.open()
        config = uvicorn.Config(
            build_application(service),
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=_LAST_ANSWERS_SECONDS,
        )
        server = _Server(config)
        answering = asyncio.create_task(server.serve(sockets=[listener]))
        on_ready(service)
        try:
            await service.watch()
        except* ForgeError as faults:
            raise faults.exceptions[0] from None
        finally:
            server.should_exit = True
            await answering
    finally:
        listener.close()
        service.close()


class _Server(uvicorn.Server):
    """A server that leaves signals to `serve`."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
