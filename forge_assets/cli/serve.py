"""`forge serve`: a registered model as an OpenAI-compatible endpoint on this machine, for as long as it runs."""

import asyncio
import json
import signal

from rich.console import Console

from forge_assets.instance import forge_environment
from forge_assets.resources import forge_resources
from forge_assets.settings import Settings
from forge_pipelines.progress import Progress
from forge_pipelines.registry.releases import Releases, read_target
from forge_pipelines.serving.server import listen, serve
from forge_pipelines.serving.service import Service


def run_serve(target: str, settings: Settings, *, host: str, port: int) -> None:
    """Verify a model, load it, say where it is, and end everything at Ctrl-C or SIGTERM.

    Args:
        target: a model, or ``model@alias``.
        settings: where the store and MLflow are.
        host: a name of loopback.
        port: where it listens; 0 is any free one.

    Raises:
        ConfigError: there is no such model or alias, or the host is not loopback.
        DataError: the weights or the report are damaged.
        GateRefusal: the report does not pass its gates.
        PlatformError: the port is taken, MLflow cannot be reached, or the engine does not start or dies repeatedly.
    """
    console = Console(soft_wrap=True, highlight=False, markup=False)
    model, alias = read_target(target)
    signal.signal(signal.SIGTERM, signal.default_int_handler)

    def say(progress: Progress) -> None:
        console.print(progress.message)

    def announce(service: Service) -> None:
        address = f"http://{host}:{listener.getsockname()[1]}"
        current = service.current
        console.print(f"{current.model.id} (@{service.alias}) is served at {address}/v1")
        console.print(f"try it:  {_example(address, model, is_chat=current.prompts.is_chat)}")
        console.print("Ctrl-C ends it")

    try:
        with listen(host, port) as listener, forge_environment(settings):
            resources = forge_resources(settings)
            versions = Releases(resources["forge_registry"].open(), resources["forge_store"].open(), model, alias)
            asyncio.run(serve(Service(versions, settings.logs, say), listener, announce))
    except KeyboardInterrupt:  # before the endpoint stood
        pass
    console.print("ended")


def _example(address: str, model: str, *, is_chat: bool) -> str:
    asked = {"messages": [{"role": "user", "content": "Hello!"}]} if is_chat else {"prompt": "Once", "max_tokens": 32}
    path = "chat/completions" if is_chat else "completions"
    body = json.dumps({"model": model, **asked})
    return f"curl {address}/v1/{path} -H 'Content-Type: application/json' -d '{body}'"
