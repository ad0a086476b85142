"""Who holds one device: its lock file, whose words are believed only while somebody holds it."""

import fcntl
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from pydantic import ValidationError

from forge_pipelines.gpu.inventory import Device
from forge_pipelines.gpu.line import Holder
from forge_pipelines.gpu.locks import rewrite, take
from forge_pipelines.manifest import Value


class Tenancy(Value):
    """What a device's lock file says: the token of the lease, who has it, since when."""

    lease: str
    holder: Holder
    since: datetime


@dataclass(frozen=True, slots=True)
class DeviceState:
    """A device, whether it is held, and by whom; a holder that does not say who it is has no tenancy."""

    device: Device
    held: bool
    tenancy: Tenancy | None


def lock_file(device: Device, folder: Path) -> Path:
    """Return where the lock of a device stands in the folder of leases."""
    return folder / "devices" / f"{quote(device.uuid, safe='')}.lock"


def share(descriptor: int, tenancy: Tenancy) -> None:
    """Let the processes of the step hold a taken device, too: those that inherit the descriptor, and those that join.

    The line must be held.
    """
    rewrite(descriptor, tenancy.model_dump_json())
    # The kernel lets go of one lock before it gives the other; nobody else takes one without holding the line.
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    os.set_inheritable(descriptor, True)


def look(device: Device, folder: Path) -> DeviceState:
    """Look who holds a device; the line must be held."""
    file = lock_file(device, folder)
    descriptor = take(file)
    if descriptor is not None:
        os.close(descriptor)
        return DeviceState(device, False, None)
    try:
        return DeviceState(device, True, Tenancy.model_validate_json(file.read_bytes()))
    except ValidationError:
        return DeviceState(device, True, None)  # somebody locked it by hand
