"""A program: the endpoint over a folder of models, without MLflow. A file says which version is to be served."""

import asyncio
import sys
from pathlib import Path

from forge_pipelines.errors import DataError
from forge_pipelines.manifest import Classification, Manifest
from forge_pipelines.progress import Progress
from forge_pipelines.registry.releases import Release
from forge_pipelines.serving.admission import Limits
from forge_pipelines.serving.server import listen, serve
from forge_pipelines.serving.service import Service
from forge_pipelines.store import list_files


class VersionsInAFolder:
    """The twin of `Releases`: version N is the folder `vN`, and the file `version` holds N."""

    model = "tiny"
    alias = "champion"

    def __init__(self, root: Path) -> None:
        self._root = root

    def version(self) -> int:
        return int((self._root / "version").read_text())

    def verified(self, version: int) -> Release:
        folder = self._root / f"v{version}"
        if not folder.exists():
            raise DataError(f"version {version} is damaged")
        checkpoint = Manifest(
            kind="trained_checkpoint",
            name=self.model,
            key="",
            fingerprint="",
            inputs={},
            parameters={},
            code_version="test",
            files=list_files(folder),
            counts={},
            classification=Classification.PUBLIC,
            measured={},
            created_at="",
            made_in_seconds=0,
        )
        return Release(self.model, version, self.alias, checkpoint, folder)


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(root: Path, waiting: int) -> None:
    def say(progress: Progress) -> None:
        tell(progress.message)

    def ready(_service: Service) -> None:
        tell(f"ready {listener.getsockname()[1]}")

    listener = listen("127.0.0.1", 0)
    limits = Limits(waiting=waiting, deadline_seconds=20)

    async def run() -> None:
        await serve(Service(VersionsInAFolder(root), root, say, limits, poll_seconds=0.2), listener, ready)

    asyncio.run(run())
    tell("ended")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
