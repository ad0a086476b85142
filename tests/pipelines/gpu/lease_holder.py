"""A step as a process of its own: `lease_holder.py FOLDER INVENTORY COUNT PRODUCT STEP [joined]`.

It says on standard output what it is told while it waits, then `leased UUID…`, and holds until its standard input ends.
With `joined` it starts a process that inherits nothing and joins the lease, and says that process's number.
"""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

from forge_pipelines.gpu.inventory import devices
from forge_pipelines.gpu.leases import Leases
from forge_pipelines.gpu.line import Holder
from forge_pipelines.gpu.request import GpuRequest

JOIN = """
import os, time
from forge_pipelines.gpu.joining import LEASE_VARIABLE, join_lease
join_lease(os.environ[LEASE_VARIABLE])
print(f"joined {os.getpid()}", flush=True)
time.sleep(60)
"""


def say(sentence: str) -> None:
    sys.stdout.write(f"{sentence}\n")
    sys.stdout.flush()


def main(folder: str, inventory: str, count: str, product: str, step: str, *joined: str) -> None:
    request = GpuRequest(count=int(count), product=product or None)
    leases = Leases(Path(folder), partial(devices, Path(inventory)))
    with leases.lease(request, Holder.here("1a2b3c4d-0000", step), say) as lease:
        if joined:
            subprocess.Popen([sys.executable, "-c", JOIN], env={**os.environ, **lease.variables()}, close_fds=True)
        say("leased " + " ".join(device.uuid for device in lease.devices))
        sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
