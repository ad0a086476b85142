"""`forge reconcile`: what is published and was never reported to Dagster, reported now."""

from rich.console import Console

from forge_assets.automation.reconcile import find_missing, stages_of
from forge_assets.cli.run import load_definitions
from forge_assets.instance import dagster_instance
from forge_assets.resources import forge_resources
from forge_assets.settings import Settings


def reconcile(settings: Settings) -> int:
    """Report what is missing, and print a line for each.

    Returns:
        0 when every manifest could be read, else 1.

    Raises:
        ConfigError: the definitions do not load.
        PlatformError: the store or PostgreSQL cannot be reached.
    """
    console = Console(soft_wrap=True, highlight=False, markup=False)
    assets = load_definitions(settings.definitions).resolve_asset_graph().materializable_asset_keys
    store = forge_resources(settings)["forge_store"].open()
    with dagster_instance(settings) as instance:
        found = find_missing(store, instance, assets, settled={})
        for event in found.missing:
            instance.report_runless_asset_event(event)
            fingerprint = str(event.metadata["forge/fingerprint"].value)
            console.print(f"reported {event.asset_key.to_user_string()} {fingerprint[:12]}")
    for sentence in found.damage:
        console.print(f"damaged  {sentence}", style="red")
    for stage in sorted(store.stages() - set(stages_of(assets))):
        console.print(f"passed over {stage}: no asset of {settings.definitions}")
    if not found.missing:
        console.print(f"nothing was missing: {len(found.settled)} published stages are reported")
    return 1 if found.damage else 0
