"""What is served now: the current deployment, its engine started again when it dies, another version taken over."""

import asyncio
import time
from collections import deque
from pathlib import Path
from typing import Protocol

from forge_pipelines.errors import ForgeError, PlatformError
from forge_pipelines.progress import OnProgress, Progress
from forge_pipelines.registry.releases import Release
from forge_pipelines.serving.admission import Limits
from forge_pipelines.serving.deployment import Deployment, ServedModel

_LOOK_SECONDS = 0.5
_DEATHS = 3
_DEATHS_WITHIN_SECONDS = 600.0
_TRY_AGAIN_SECONDS = 60.0


class Versions(Protocol):
    """The versions of one model that are to be served, one after another."""

    model: str
    alias: str

    def version(self) -> int:
        """Return the number of the version that is to be served now."""

    def verified(self, version: int) -> Release:
        """Return a version whose hashes and gates hold."""


class Service:
    """One model on one endpoint, whatever its version.

    Args:
        versions: which version is to be served.
        log_folder: takes a log an engine.
        on_progress: told in a sentence of each change.
        limits: of the requests that wait.
        poll_seconds: between two looks at which version is to be served.
    """

    def __init__(
        self,
        versions: Versions,
        log_folder: Path,
        on_progress: OnProgress,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        poll_seconds: float = 5.0,
    ) -> None:
        self._versions = versions
        self._log_folder = log_folder
        self._on_progress = on_progress
        self._limits = limits
        self._poll_seconds = poll_seconds
        self._changing = asyncio.Lock()
        self._deployments: list[Deployment] = []
        self._retiring: set[asyncio.Task[None]] = set()
        self.current: Deployment

    @property
    def alias(self) -> str:
        """The alias that is followed."""
        return self._versions.alias

    async def open(self) -> None:
        """Verify and load the version that is to be served.

        Raises:
            ForgeError: it does not verify, or does not start.
        """
        self._served = await asyncio.to_thread(self._versions.version)
        self.current = await self._load(await self._verified(self._served))

    async def watch(self) -> None:
        """Start the engine again when it dies, and take other versions over.

        Raises:
            PlatformError: the engine dies again and again.
        """
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._follow())
                both.create_task(self._revive())
        except ExceptionGroup as group:
            raise group.exceptions[0] from None

    def close(self) -> None:
        """End every engine."""
        for task in self._retiring:
            task.cancel()
        for deployment in self._deployments:
            deployment.end()

    async def _verified(self, version: int) -> ServedModel:
        self._say(f"verifying {self._versions.model} version {version}")
        return ServedModel.of_release(await asyncio.to_thread(self._versions.verified, version))

    async def _load(self, model: ServedModel) -> Deployment:
        self._say(f"loading {model.id}")
        log = self._log_folder / f"serve-{model.id.replace(':', '-')}.log"
        deployment = await asyncio.to_thread(Deployment, model, log, self._limits)
        await deployment.start()
        self._deployments.append(deployment)
        return deployment

    async def _follow(self) -> None:
        said, failed, wait_until = "", None, 0.0
        while True:
            await asyncio.sleep(self._poll_seconds)
            wanted = None
            try:
                wanted = await asyncio.to_thread(self._versions.version)
                if wanted != self._served and (wanted != failed or time.monotonic() > wait_until):
                    await self._take_over(wanted)
            except ForgeError as error:
                failed, wait_until = wanted, time.monotonic() + _TRY_AGAIN_SECONDS
                if str(error) != said:
                    said = str(error)
                    self._say(f"{self.current.model.id} goes on being served: {said}")

    async def _take_over(self, version: int) -> None:
        model = await self._verified(version)
        async with self._changing:
            self._replace(await self._load(model))
            self._served = version
        self._say(f"{model.id} is served now")

    async def _revive(self) -> None:
        deaths: deque[float] = deque(maxlen=_DEATHS)
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            async with self._changing:
                if (fault := self.current.fault()) is None:
                    continue
                deaths.append(time.monotonic())
                if len(deaths) == _DEATHS and deaths[-1] - deaths[0] < _DEATHS_WITHIN_SECONDS:
                    raise PlatformError(f"the process of {self.current.model.id} dies again and again: {fault}")
                self._say(f"the process of {self.current.model.id} is started again: {fault}")
                self._replace(await self._load(self.current.model))
                self._say(f"{self.current.model.id} is served again")

    def _replace(self, deployment: Deployment) -> None:
        retired, self.current = self.current, deployment
        task = asyncio.create_task(self._retire(retired))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    async def _retire(self, deployment: Deployment) -> None:
        await deployment.idle()
        await asyncio.to_thread(deployment.end)
        self._deployments.remove(deployment)

    def _say(self, message: str) -> None:
        self._on_progress(Progress(self._versions.model, message=message))
