"""Leases of this machine's devices: whole, fair, and ended by the kernel with the last process of the step.

A lease is a lock (``flock``) on a file for each device. The step's guard takes it alone while it holds the line, and
makes it shared before it lets go; the step's processes inherit it, or join it (`joining.py`). A device is free exactly
when nobody holds any lock on its file, so nothing is left to clean, however the holders died.
"""

import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from forge_pipelines.errors import ConfigError, PlatformError
from forge_pipelines.gpu.inventory import Device, check_inventory
from forge_pipelines.gpu.joining import LEASE_VARIABLE, name_lease
from forge_pipelines.gpu.line import Holder, Line, Place, Waiting
from forge_pipelines.gpu.locks import ANYBODY_ADDS, shared_folder, take, usable
from forge_pipelines.gpu.request import GpuRequest
from forge_pipelines.gpu.tenancy import DeviceState, Tenancy, lock_file, look, share

POLL_SECONDS = 0.01
"""How often the first in the queue looks whether its devices are free; the others look half as often."""

_LOOK_UP_SECONDS = 1.0

Inventory = tuple[Device, ...]


@dataclass(frozen=True, slots=True)
class LeasesState:
    """Every device of the inventory, and those who wait, first come first."""

    devices: tuple[DeviceState, ...]
    waiting: tuple[Waiting, ...]


@dataclass(frozen=True, slots=True)
class Lease:
    """Devices that this step alone may use: their lock files, and descriptors that hold the locks and are inherited."""

    token: str
    devices: Inventory
    files: tuple[Path, ...]
    descriptors: tuple[int, ...]

    def variables(self) -> Mapping[str, str]:
        """Return the environment of the step: CUDA sees the leased devices alone, and its processes can join."""
        return {
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
            "CUDA_VISIBLE_DEVICES": ",".join(device.uuid for device in self.devices if not device.simulated),
            LEASE_VARIABLE: name_lease(self.token, self.files),
        }

    def close(self) -> None:
        """Let go, as far as this process holds the devices."""
        for descriptor in self.descriptors:
            os.close(descriptor)


class Leases:
    """All leases of this machine, over all runs, users and code locations that name the same folder."""

    def __init__(self, folder: Path, inventory: Callable[[], Inventory]) -> None:
        """Name the folder of the locks, made when first used, and what tells the devices that there are now."""
        self._folder = folder
        self._inventory = inventory

    @contextmanager
    def lease(self, request: GpuRequest, holder: Holder, on_wait: Callable[[str], None]) -> Iterator[Lease]:
        """Wait for the devices, all at once and in the order of asking, and hold them.

        Leaving gives them back; processes that were forked meanwhile, or joined, hold them on.

        Args:
            request: what is asked for.
            holder: who asks.
            on_wait: told in a sentence that the wait begins, and of each change of the place in the queue.

        Raises:
            ConfigError: this machine can never grant the request.
            PlatformError: the folder cannot be used, or devices went away during the wait.
        """
        inventory = self._inventory()
        check_inventory(request, inventory)
        with self._turn(Waiting(request=request, holder=holder, since=_now()), inventory) as turn:
            lease = self._wait(turn, on_wait)
        try:
            if turn.told:
                _check_there(lease, self._inventory())
            yield lease
        finally:
            lease.close()

    def state(self) -> LeasesState:
        """Return who holds each device, and who waits.

        Raises:
            PlatformError: the folder cannot be used.
        """
        inventory = self._inventory()
        with usable(self._folder), self._line() as line, line.locked():
            found = tuple(look(device, self._folder) for device in inventory)
            return LeasesState(found, tuple(line.waiting().values()))

    @contextmanager
    def _line(self) -> Iterator[Line]:
        shared_folder(self._folder, ANYBODY_ADDS)
        shared_folder(self._folder / "devices", ANYBODY_ADDS)
        line = Line(self._folder)
        try:
            yield line
        finally:
            line.close()

    @contextmanager
    def _turn(self, wanted: Waiting, inventory: Inventory) -> Iterator["_Turn"]:
        with ExitStack() as opened:
            with usable(self._folder):
                line = opened.enter_context(self._line())
                with line.locked():
                    place = line.enter(wanted)
            try:
                yield _Turn(self._folder, line, place, wanted, inventory)
            finally:
                with usable(self._folder):
                    line.leave(place)

    def _wait(self, turn: "_Turn", on_wait: Callable[[str], None]) -> Lease:
        look_up_at = 0.0
        while (lease := turn.attempt()) is None:
            if time.monotonic() > look_up_at:
                if turn.told:
                    turn.recount(self._inventory())
                if turn.told != turn.position:
                    on_wait(turn.words())
                    turn.told = turn.position
                look_up_at = time.monotonic() + _LOOK_UP_SECONDS
            time.sleep(POLL_SECONDS * min(turn.position, 2))
        return lease


class _Turn:
    """One waiter's turn: whether it may take devices yet, its position in the queue, and the one that it told last."""

    def __init__(self, folder: Path, line: Line, place: Place, wanted: Waiting, inventory: Inventory) -> None:
        self._folder, self._line, self._place, self._wanted = folder, line, place, wanted
        self._inventory = inventory
        self._must_look = True
        self.position = 0
        self.told = 0

    def attempt(self) -> Lease | None:
        """Take the devices if they are free and no earlier waiter could use them.

        Raises:
            PlatformError: the folder cannot be used.
        """
        with usable(self._folder):
            if not (self._must_look or self._line.has_changed()):
                return None
            ahead = self._line.waiting(ahead_of=self._place).values()
            self.position = len(ahead) + 1
            claims = [waiting.request for waiting in ahead]
            mine = [device for device in self._fitting() if not any(claim.fits(device.name) for claim in claims)]
            self._must_look = len(mine) >= self._wanted.request.count
            if not self._must_look:
                return None
            with self._line.locked():
                return self._take(mine)

    def recount(self, inventory: Inventory) -> None:
        """Go on with the devices that there are now.

        Raises:
            PlatformError: they can never grant the request any more.
        """
        try:
            check_inventory(self._wanted.request, inventory)
        except ConfigError as error:
            raise PlatformError(f"a GPU went away while the step waited: {error}") from error
        self._inventory = inventory
        self._must_look = True

    def words(self) -> str:
        """Say what is waited for, where in the queue, and who holds it.

        Raises:
            PlatformError: the folder cannot be used.
        """
        words = f"waiting for {self._wanted.request}, {_ordinal(self.position)} in the queue"
        with usable(self._folder), self._line.locked():
            states = [look(device, self._folder) for device in self._fitting()]
        tenancies = [state.tenancy for state in states if state.tenancy]
        if not tenancies:
            return words
        first = min(tenancies, key=lambda tenancy: tenancy.since)
        others = len({tenancy.lease for tenancy in tenancies}) - 1
        more = f" and {others} other{'' if others == 1 else 's'}" if others else ""
        return f"{words}, held by {first.holder} since {first.since.astimezone():%H:%M:%S}{more}"

    def _fitting(self) -> Sequence[Device]:
        return [device for device in self._inventory if self._wanted.request.fits(device.name)]

    def _take(self, devices: Sequence[Device]) -> Lease | None:
        """Take as many as are asked for, or none."""
        count, taken = self._wanted.request.count, dict[Device, int]()
        with ExitStack() as unless_all:
            for device in devices:
                if len(taken) < count and (descriptor := take(lock_file(device, self._folder))) is not None:
                    unless_all.callback(os.close, descriptor)
                    taken[device] = descriptor
            if len(taken) < count:
                return None
            tenancy = Tenancy(lease=uuid.uuid4().hex, holder=self._wanted.holder, since=_now())
            for descriptor in taken.values():
                share(descriptor, tenancy)
            unless_all.pop_all()
        files = tuple(lock_file(device, self._folder) for device in taken)
        return Lease(tenancy.lease, tuple(taken), files, tuple(taken.values()))


def _check_there(lease: Lease, inventory: Inventory) -> None:
    missing = {device.uuid for device in lease.devices} - {device.uuid for device in inventory}
    if missing:
        raise PlatformError(f"{', '.join(sorted(missing))} went away while the step waited for it; run the same again")


def _ordinal(number: int) -> str:
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _now() -> datetime:
    return datetime.now(UTC)
