"""`forge plan`: what a training will take, before it starts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import psutil
from rich.table import Table

from forge_assets.cli.run import load_definitions
from forge_assets.cli.screen import wide_console
from forge_assets.components.model import Model, ModelConfig
from forge_assets.resources import forge_resources
from forge_assets.settings import Settings
from forge_pipelines.errors import ConfigError
from forge_pipelines.gpu.inventory import Device, check_inventory, devices
from forge_pipelines.gpu.request import GpuRequest
from forge_pipelines.training.cards import GIB, MIB, Card, bytes_of, card_named, find_card
from forge_pipelines.training.plan import Plan, make_plan
from forge_pipelines.training.remedies import Machine
from forge_pipelines.training.speed import cpu_name, num_checkpoints


@dataclass(frozen=True, slots=True)
class Wish:
    """What the command was told.

    Attributes:
        gpu: name of a card that training is planned on, instead of what this machine has.
        gpu_memory: memory of such a card, as `24GB`.
        price_per_gpu_hour: in whatever currency; None where it is not known.
    """

    gpu: str | None = None
    gpu_memory: str | None = None
    price_per_gpu_hour: float | None = None


def show_plan(name: str, wish: Wish, settings: Settings) -> int:
    """Print what a model's training will take; return 0, or 1 when it does not fit.

    Raises:
        ConfigError: there is no such model, its recipe gives no network, or the GPU is not known.
        DataError: its base was never brought in.
        PlatformError: the process that sizes the network was killed.
    """
    config = model_config(name, settings)
    machine = machine_for(config.training.gpus, wish, settings)
    store = forge_resources(settings)["forge_store"].open()
    log = settings.logs / f"{name}-plan.log"
    plan = make_plan(name, config.base, config.shards, config.training, machine, store, log)
    console = wide_console()
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for what, text in lines_of(plan, wish.price_per_gpu_hour):
        table.add_row(what, text)
    console.print(table, markup=False, soft_wrap=False)
    return 0 if plan.fits else 1


def model_config(name: str, settings: Settings) -> ModelConfig:
    """Return the configuration of a model among the project's components.

    Raises:
        ConfigError: there is none of this name, or the definitions do not load.
    """
    tree = load_definitions(settings.definitions).component_tree
    models = {} if tree is None else {model.config.name: model.config for model in tree.get_all_components(Model)}
    if name not in models:
        there_are = f"there are {', '.join(sorted(models))}" if models else "there is none"
        raise ConfigError(f"no model is named {name}; {there_are}")
    return models[name]


def machine_for(request: GpuRequest, wish: Wish, settings: Settings) -> Machine:
    """Return on what a training is planned: the card that the command names, else what the recipe would be given.

    Raises:
        ConfigError: the card is not known, or this machine cannot grant what the recipe asks for.
    """
    if wish.gpu is not None or wish.gpu_memory is not None:
        return _wished(wish)
    if request.count and settings.kubernetes is not None:
        card = find_card(request.product) if request.product else None
        if card is None:
            raise ConfigError("the GPUs of the cluster are not known here; say --gpu NAME, for example --gpu L40S")
        return Machine(card.name, card.memory_bytes, card, here=False)
    found = [device for device in devices(settings.gpu_inventory) if not device.simulated]
    if request.count and found:
        check_inventory(request, found)
        return _smallest([device for device in found if request.fits(device.name)])
    if request.count and settings.when_no_gpu == "fail":
        raise ConfigError(f"training asks for {request} and this machine has none; say --gpu NAME to plan for another")
    return Machine(cpu_name(), psutil.virtual_memory().available, None, here=True)


def _wished(wish: Wish) -> Machine:
    memory = bytes_of(wish.gpu_memory) if wish.gpu_memory is not None else None
    if wish.gpu is None:
        assert memory is not None
        card = Card(f"a GPU of {wish.gpu_memory}", memory, None, None)
    else:
        card = card_named(wish.gpu)
        card = card if memory is None else replace(card, memory_bytes=memory)
    return Machine(card.name, card.memory_bytes, card, here=False)


def _smallest(found: Sequence[Device]) -> Machine:
    device = min(found, key=lambda device: device.memory_bytes)
    known = find_card(device.name)
    card = known or Card(device.name, device.memory_bytes, None, None)
    return Machine(device.name, device.memory_bytes, replace(card, memory_bytes=device.memory_bytes), here=True)


def lines_of(plan: Plan, price_per_gpu_hour: float | None, now: datetime | None = None) -> Iterator[tuple[str, str]]:
    """Yield the lines of a plan: what, and how much.

    Args:
        plan: what is told.
        price_per_gpu_hour: in whatever currency; None where it is not known.
        now: when training would start; by default, now.
    """
    recipe, shape, tokens = plan.recipe, plan.shape, plan.tokens
    trained = "all" if recipe.lora is None else f"{shape.adapter:,} beside them"
    network = f"{shape.model_type}, {shape.parameters:,} parameters, {trained} trained"
    yield "model", f"{plan.name} {plan.begins_with}: {network}"
    yield "tokens", f"{tokens.total:,}: {_product(plan)}"
    yield "epochs", "not known" if tokens.epochs is None else f"{tokens.epochs:,.2f} of {tokens.sequences:,} sequences"
    yield "", tokens.source
    ranks = f"{recipe.ranks} rank{'' if recipe.ranks == 1 else 's'}"
    at_once = f"{plan.layout.micro_batch} of {recipe.batch_sequences // recipe.ranks} sequences at once"
    yield "on", f"{plan.machine.device}: {ranks} in {recipe.precision}, ZeRO stage {recipe.zero_stage}, {at_once}"
    yield from _memory_lines(plan)
    yield from _time_lines(plan, price_per_gpu_hour, now or datetime.now().astimezone())


def _product(plan: Plan) -> str:
    tokens = plan.tokens
    return f"{tokens.steps:,} steps × {tokens.batch_sequences:,} sequences × {tokens.sequence_length:,} tokens"


def _memory_lines(plan: Plan) -> Iterator[tuple[str, str]]:
    label = "memory"
    for part, num_bytes in plan.memory.parts.items():
        yield label, f"{_gib(num_bytes):>12}  {part}"
        label = ""
    who = "one rank" if plan.machine.on_gpu or plan.recipe.ranks == 1 else f"one rank of {plan.recipe.ranks}"
    yield "", f"{_gib(plan.memory.total):>12}  {who}"
    if plan.memory.offloaded:
        yield "", f"{_gib(plan.memory.offloaded):>12}  in the machine's memory instead"
    where = "is what the GPU has" if plan.machine.on_gpu else "are free here"
    verdict = "yes" if plan.fits else "no"
    yield "fits", f"{verdict}: {_gib(plan.needed_bytes)} are needed, {_gib(plan.machine.memory_bytes)} {where}"
    if not plan.fits:
        yield "would fit", "nothing known here; take a smaller network" if not plan.remedies else plan.remedies[0]
    for remedy in plan.remedies[1:]:
        yield "", f"or {remedy}"


def _time_lines(plan: Plan, price: float | None, now: datetime) -> Iterator[tuple[str, str]]:
    if plan.pace is None or plan.seconds is None:
        advice = "name the card (--gpu)" if plan.machine.on_gpu else "free some memory, so that it can be timed"
        yield "time", f"not known: nobody says how fast {plan.machine.device} is; {advice}"
        yield "price", "not priced"
        return
    length, start = (timedelta(seconds=round(seconds)) for seconds in (plan.seconds, plan.pace.start_seconds))
    saved = num_checkpoints(plan.recipe)
    saving = f"{start} to start and to save {saved} checkpoint{'' if saved == 1 else 's'}"
    yield "time", f"{length}: {plan.pace.tokens_per_second:,.0f} tokens/s, and {saving}"
    yield "", plan.pace.source
    hours = plan.gpu_hours
    yield "GPU-hours", "0" if hours is None else f"{hours:,.2f}"
    yield "price", _price(hours, price)
    yield "finished", f"{now + length:%Y-%m-%d %H:%M %Z}, if it starts now"


def _price(hours: float | None, price: float | None) -> str:
    if hours is None:
        return "not priced: no GPU is used"
    if price is None:
        return "not priced; say --price-per-gpu-hour"
    return f"{hours * price:,.2f} at {price:,.2f} a GPU-hour"


def _gib(num_bytes: int) -> str:
    return f"{num_bytes / GIB:,.2f} GiB" if num_bytes >= GIB // 10 else f"{num_bytes / MIB:,.1f} MiB"
