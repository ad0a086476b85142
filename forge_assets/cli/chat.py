"""`forge chat`: a conversation with a registered model in the terminal, beside its base where that is asked for."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import aclosing, contextmanager

from rich.console import Console

from forge_assets.instance import forge_environment
from forge_assets.resources import forge_resources
from forge_assets.settings import Settings
from forge_pipelines.bases.stage import base_of
from forge_pipelines.errors import ConfigError, PlatformError
from forge_pipelines.registry.releases import Release, Releases, read_target
from forge_pipelines.serving.admission import Limits
from forge_pipelines.serving.conversation import Conversation
from forge_pipelines.serving.deployment import Deployment, ServedModel
from forge_pipelines.serving.refusal import Refusal
from forge_pipelines.store import Store

BASE = "base"


def run_chat(
    target: str, settings: Settings, *, compare: str | None, prompt: str | None, temperature: float, max_tokens: int
) -> None:
    """Verify a model, load it in a process of this command's own, and talk with it.

    Args:
        target: a model, or ``model@alias``.
        settings: where the store and MLflow are.
        compare: ``base`` has each question answered by the model's base, too.
        prompt: the one question; without it they are read from the terminal.
        temperature: 0 takes the likeliest token at each step.
        max_tokens: of an answer.

    Raises:
        ConfigError: there is no such model or alias, it has no base to compare with, or the prompt does not fit.
        DataError: the weights or the report are damaged.
        GateRefusal: the report does not pass its gates.
        PlatformError: MLflow cannot be reached, or the model does not start or has ended.
    """
    model, alias = read_target(target)
    if compare not in {None, BASE}:
        raise ConfigError(f"--compare {compare} is not known: write --compare {BASE}")
    talk = _Talk(Console(soft_wrap=True, highlight=False, markup=False))
    with forge_environment(settings):
        resources = forge_resources(settings)
        store = resources["forge_store"].open()
        releases = Releases(resources["forge_registry"].open(), store, model, alias)
        release = releases.verified(releases.version())
        models = [ServedModel.of_release(release), *([_base_of(release, store)] if compare else [])]
        with asyncio.Runner() as runner, _started(models, settings, runner) as deployments:
            talk.conversations = [Conversation(deployment, temperature, max_tokens) for deployment in deployments]
            talk.introduce()
            if prompt is not None:
                runner.run(talk.answer(prompt))
            else:
                talk.go_on(runner)


def _base_of(release: Release, store: Store) -> ServedModel:
    base = base_of(release.checkpoint, store)
    if base is None:
        message = (
            f"{release.model} version {release.version} was trained from nothing, so it has no base to compare with"
        )
        raise ConfigError(f"{message}: leave --compare {BASE} away")
    return ServedModel.of_base(base, store.open(base).absolute())


@contextmanager
def _started(models: Sequence[ServedModel], settings: Settings, runner: asyncio.Runner) -> Iterator[list[Deployment]]:
    deployments: list[Deployment] = []
    try:
        for model in models:
            log = settings.logs / f"chat-{model.id.replace(':', '-')}.log"
            deployments.append(Deployment(model, log, Limits()))
        runner.run(_start(deployments))
        yield deployments
    finally:
        for deployment in deployments:
            deployment.end()


async def _start(deployments: Sequence[Deployment]) -> None:
    await asyncio.gather(*(deployment.start() for deployment in deployments))


class _Talk:
    """What the terminal shows."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.conversations: Sequence[Conversation] = ()

    def introduce(self) -> None:
        """Say which models do not answer questions, but go on from texts."""
        for conversation in self.conversations:
            if not conversation.is_chat:
                message = f"{conversation.title} has no chat template: it continues each text, and remembers none"
                Console(stderr=True, soft_wrap=True, highlight=False).print(message, style="dim", markup=False)

    def go_on(self, runner: asyncio.Runner) -> None:
        """Read questions and answer them until Ctrl-D, or Ctrl-C where a question is expected."""
        while True:
            try:
                text = self._console.input("you> " if self._console.is_terminal else "").strip()
            except (EOFError, KeyboardInterrupt):
                self._console.print()
                return
            if not text:
                continue
            try:
                runner.run(self.answer(text))
            except KeyboardInterrupt:
                self._console.print("… (stopped)", style="dim")
            except ConfigError as error:
                self._console.print(str(error), style="red")

    async def answer(self, text: str) -> None:
        """Show each model's answer as it is made.

        Raises:
            ConfigError: the text does not fit.
            PlatformError: the model's process has ended.
        """
        labelled = len(self.conversations) > 1 or self._console.is_terminal
        for conversation in self.conversations:
            if labelled:
                self._console.print(f"{conversation.title}> ", style="bold", end="")
            try:
                async with aclosing(conversation.ask(text)) as parts:
                    async for part in parts:
                        self._console.print(_shown(part), end="")
            except Refusal as refusal:
                self._console.print()
                kind = ConfigError if refusal.status < 500 else PlatformError
                raise kind(refusal.message) from refusal
            self._console.print()


def _shown(text: str) -> str:
    """Return a text without what a terminal would obey."""
    return "".join(mark if mark.isprintable() or mark in "\n\t" else "\N{REPLACEMENT CHARACTER}" for mark in text)
