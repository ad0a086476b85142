"""The services of `forge up`: children that are started again when they end, and that end together with it."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from forge_pipelines import processes
from forge_pipelines.errors import PlatformError

_START_SECONDS = 180
_MOST_RESTARTS = 10
_RESTART_WINDOW_SECONDS = 600.0


@dataclass(slots=True)
class _Service:
    """A Python module that runs as long as `forge up` does, and what must be done before it is started again."""

    module_and_arguments: Sequence[str]
    environment: Mapping[str, str] | None
    before_restart: Callable[[], None]
    child: processes.Child
    restarts: list[float] = field(default_factory=list)


class Services:
    """The children: started one by one, watched and ended together, each with all its descendants."""

    def __init__(self, logs: Path, descriptor: int | None) -> None:
        self._logs = logs
        self._inherited = () if descriptor is None else (descriptor,)  # PostgreSQL outlives them
        self._services: dict[str, _Service] = {}

    def __enter__(self) -> "Services":
        return self

    def __exit__(self, *_: object) -> None:
        for service in self._services.values():
            service.child.terminate()
        for service in self._services.values():
            service.child.wait()

    def start(
        self,
        title: str,
        *module_and_arguments: str,
        environment: Mapping[str, str] | None = None,
        before_restart: Callable[[], None] = lambda: None,
    ) -> None:
        """Start a Python module that is to run as long as this process does."""
        child = self._start(title, module_and_arguments, environment)
        self._services[title] = _Service(module_and_arguments, environment, before_restart, child)

    def wait_for(self, ready: Callable[[], Any]) -> None:
        """Wait until something answers.

        Raises:
            PlatformError: it does not, or a child has ended.
        """
        deadline = time.monotonic() + _START_SECONDS
        while not ready():
            for title, service in self._services.items():
                if service.child.poll() is not None:
                    message = f"{title} has ended ({_how(service.child)}), and so ends the rest"
                    raise PlatformError(f"{message}; its log says why: {self._log(title)}")
            if time.monotonic() > deadline:
                raise PlatformError(f"not ready after {_START_SECONDS} s; the logs in {self._logs} say why")
            time.sleep(0.1)

    def watch(self, say: Callable[[str], None]) -> None:
        """Start again what ends, for ever.

        Raises:
            PlatformError: something ends again and again; which, and where its log is.
        """
        while True:
            for title, service in self._services.items():
                if service.child.poll() is not None:
                    self._restart(title, service, say)
            time.sleep(0.5)

    def _restart(self, title: str, service: _Service, say: Callable[[str], None]) -> None:
        how, now = _how(service.child), time.monotonic()
        service.restarts = [*(then for then in service.restarts if now - then < _RESTART_WINDOW_SECONDS), now]
        if len(service.restarts) > _MOST_RESTARTS:
            message = f"{title} ends again and again ({how}), and so ends the rest"
            raise PlatformError(f"{message}; its log says why: {self._log(title)}")
        service.before_restart()
        service.child = self._start(title, service.module_and_arguments, service.environment)
        say(f"{title} had ended ({how}) and was started again; its log says why: {self._log(title)}")

    def _start(
        self, title: str, module_and_arguments: Sequence[str], environment: Mapping[str, str] | None
    ) -> processes.Child:
        return processes.start(
            [sys.executable, "-m", *module_and_arguments],
            environment=environment,
            log=self._log(title),
            family=True,
            pass_descriptors=self._inherited,
        )

    def _log(self, title: str) -> Path:
        return self._logs / f"{title.lower().replace(' ', '-')}.log"


def _how(child: processes.Child) -> str:
    return f"exit code {child.returncode}" if child.returncode >= 0 else f"signal {-child.returncode}"
