"""`forge demo`: a bank adapts an open model to its own knowledge, from nothing to answers."""

from rich.console import Console

from forge_assets.cli.run import run_chain
from forge_assets.cli.screen import live_progress
from forge_assets.demo import MODEL, bring_base_in, write_articles
from forge_assets.progress import LISTENER
from forge_assets.resources import forge_resources
from forge_assets.settings import Settings


def run_demo(settings: Settings) -> int:
    """Fetch what the demonstration is made of, make `bank_assistant`, and print what came of it.

    Returns:
        0 when all was made, else 1.

    Raises:
        ConfigError: the definitions do not load.
        DataError: a package is not the pinned one.
        PlatformError: a package cannot be downloaded, or the machine failed.
    """
    store = forge_resources(settings)["forge_store"].open()
    wheels, log = settings.cache / "wheels", settings.logs / "demo.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with live_progress(Console(soft_wrap=True, highlight=False)):
        write_articles(settings.home, wheels, log, LISTENER.get())
        bring_base_in(store, wheels, log, LISTENER.get())
    return run_chain(MODEL, settings)
