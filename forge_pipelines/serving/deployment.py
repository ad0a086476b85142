"""One model, loaded in one engine, answering questions."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import ExitStack, aclosing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from forge_pipelines.manifest import Manifest
from forge_pipelines.registry.releases import Release
from forge_pipelines.serving.admission import Admission, Limits
from forge_pipelines.serving.engine import Engine, Generation, Piece
from forge_pipelines.serving.prompts import Prompts
from forge_pipelines.serving.questions import Question
from forge_pipelines.serving.refusal import Refusal
from forge_pipelines.serving.stops import end_before
from forge_pipelines.serving.transformers_engine import TransformersEngine
from forge_pipelines.staging import staging_folder

SERVED = "served"
"""Folder in which each engine has one with its model's files; one that a kill left behind goes at the next start."""

_RETRY_SECONDS = 10


@dataclass(frozen=True, slots=True)
class ServedModel:
    """Verified weights, and what they are called.

    Attributes:
        id: what answers say, such as ``bank_assistant:3``.
        names: what requests may say.
        files: the verified files, of which the engine gets to see no other.
    """

    id: str
    names: frozenset[str]
    files: tuple[Path, ...]

    @classmethod
    def of_release(cls, release: Release) -> "ServedModel":
        """Name a registered version."""
        model, name = release.model, f"{release.model}:{release.version}"
        return cls(
            name, frozenset({name, model, f"{model}@{release.alias}"}), _files(release.checkpoint, release.folder)
        )

    @classmethod
    def of_base(cls, base: Manifest, folder: Path) -> "ServedModel":
        """Name an open model as it was brought in; ``folder`` has its verified files."""
        return cls(base.name, frozenset({base.name}), _files(base, folder))


def _files(manifest: Manifest, folder: Path) -> tuple[Path, ...]:
    return tuple(folder / entry.path for entry in manifest.files if "/" not in entry.path)


class Deployment:
    """A model in its engine; one at a time is current, and a retired one finishes what it has begun.

    Args:
        model: what is answered with.
        log: file of the engine's output; what the engine sees of the model stands beside it, in `SERVED`.
        limits: of the requests that wait.

    Raises:
        PlatformError: the folder of the log cannot be written.
    """

    def __init__(self, model: ServedModel, log: Path, limits: Limits) -> None:
        self.model = model
        with ExitStack() as stack:
            folder = stack.enter_context(staging_folder(log.parent / SERVED))
            for file in model.files:
                (folder / file.name).symlink_to(file)
            self.prompts = Prompts(folder)
            self._engine: Engine = TransformersEngine(folder, log)
            self._folder = stack.pop_all()
        self.admission = Admission(self._engine.parallel, limits)
        self._questions = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def start(self) -> None:
        """Load the model; return when it answers.

        Raises:
            PlatformError: it does not; nothing is left running.
        """
        try:
            await self._engine.start()
        except BaseException:
            self.end()
            raise

    async def answer(self, question: Question) -> AsyncGenerator[Piece, None]:
        """Yield the answer as it is made; closing the generator ends the work and frees the place.

        Raises:
            Refusal: the question does not fit, there is no place, or the engine is lost.
        """
        with self._in_use():
            if self.fault() is not None:
                message = "the model's process has ended and is started again; send the request again later"
                raise Refusal(503, message, code="engine_lost", retry_after_seconds=_RETRY_SECONDS)
            num_tokens = await asyncio.to_thread(self.prompts.measure, question.prompt)
            max_tokens = min(question.wanted_tokens, self.prompts.window - num_tokens)
            generation = Generation(question.prompt, max_tokens, question.sampling, question.seed)
            async with (
                aclosing(self._generate(generation)) as made,
                aclosing(end_before(question.stops, made, self.prompts.count_answer, num_tokens)) as pieces,
            ):
                async for piece in pieces:
                    yield piece

    def fault(self) -> str | None:
        """Return in a sentence how the engine ended; None while it lives."""
        return self._engine.fault()

    async def idle(self) -> None:
        """Wait until no question is being answered."""
        await self._idle.wait()

    def end(self) -> None:
        """End the engine, and remove the folder that it saw."""
        self._engine.end()
        self._folder.close()

    async def _generate(self, generation: Generation) -> AsyncGenerator[Piece, None]:
        """Generate at the engine's pace: whoever reads slowly does not hold the place."""
        made: asyncio.Queue[Piece | None] = asyncio.Queue()

        async def work() -> None:
            try:
                async with self.admission.place(), aclosing(self._engine.generate(generation)) as pieces:
                    async for piece in pieces:
                        made.put_nowait(piece)
            finally:
                made.put_nowait(None)

        task = asyncio.create_task(work())
        try:
            while (piece := await made.get()) is not None:
                yield piece
            await task
        finally:
            task.cancel()

    @contextmanager
    def _in_use(self) -> Iterator[None]:
        self._questions += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._questions -= 1
            if not self._questions:
                self._idle.set()
