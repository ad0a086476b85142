"""`forge verify`: every hash of what is published, checked."""

from rich.console import Console

from forge_assets.resources import forge_resources
from forge_assets.settings import Settings


def verify_store(name: str | None, settings: Settings) -> int:
    """Check everything published (under a name); print what does not hold, and return the exit code.

    Returns:
        0 when every hash holds, else 1.
    """
    console = Console(soft_wrap=True, highlight=False)
    store = forge_resources(settings)["forge_store"].open()
    published = damaged = 0
    for target, damage in store.audit(name or "*"):
        published += 1
        damaged += bool(damage)
        for sentence in damage:
            console.print(f"[red]damaged[/] {target}: {sentence}")
    if published == 0:
        console.print(f"nothing is published{f' under {name}' if name else ''} in {store.address}")
        return 1 if name else 0
    console.print(f"{published} published stages verified in {store.address}, {damaged} damaged")
    return 1 if damaged else 0
