"""An attempt at a step, as its body sees it: errors are named, and seconds counted where no executor counts them."""

import resource
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from forge_assets.automation.runs import MODEL_TAG
from forge_assets.faults import named_faults, sentence_of
from forge_assets.settings import Settings, load_settings, step_place
from forge_pipelines.gpu.energy import EnergyMeter
from forge_pipelines.gpu.inventory import devices
from forge_pipelines.gpu.request import GpuRequest
from forge_pipelines.ledger.addresses import addresses
from forge_pipelines.ledger.attempts import AttemptEnd, AttemptKey, Attempts


def ledger_of(settings: Settings) -> Attempts:
    """Return the ledger of attempts."""
    return Attempts(addresses(settings.home, settings.postgres_url).forge)


@contextmanager
def attempt(context: dg.AssetExecutionContext) -> Iterator[None]:
    """Do a step: see `faults.named_faults`; where no guard counts its seconds, they are written into the ledger here.

    Raises:
        Stopped: the step failed.
        RetryRequested: it is to be done again.
    """
    with named_faults(context.retry_number):
        if step_place() == "local":
            yield
        else:
            with _counted(context):
                yield


@contextmanager
def _counted(context: dg.AssetExecutionContext) -> Iterator[None]:
    settings = load_settings()
    ledger, operation = ledger_of(settings), context.op_execution_context
    request = GpuRequest.of_tags(operation.op.tags)
    there = devices(settings.gpu_inventory)
    gpus = request.count if there else 0
    step = str(operation.op_handle)
    key = AttemptKey(run=context.run_id, step=step, attempt=context.retry_number + 1)
    ledger.begin(key, context.run.tags.get(MODEL_TAG) or context.asset_key.path[0], socket.gethostname(), gpus)
    # A container has its step's devices alone; where there are more, it is not known which of them are the step's.
    energy = EnergyMeter([device.uuid for device in there] if gpus == len(there) else [])
    started, cpu_before = time.monotonic(), _cpu_seconds()
    end = AttemptEnd(outcome="succeeded")
    try:
        yield
    except Exception as error:
        end = AttemptEnd(outcome="failed", reason=sentence_of(error))
        raise
    except BaseException:
        end = AttemptEnd(outcome="cancelled")
        raise
    finally:
        wall = time.monotonic() - started
        used = {"wall_seconds": wall, "cpu_seconds": _cpu_seconds() - cpu_before, "gpu_seconds": gpus * wall}
        ledger.end(key, end.model_copy(update={**used, "energy_joules": energy.joules(seconds_old=0)}))


def _cpu_seconds() -> float:
    """Return what this process and its ended children have used."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
