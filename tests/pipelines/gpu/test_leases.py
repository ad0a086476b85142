"""Devices are had whole, in the order of asking, by one step at a time, and come back however their step ends."""

import fcntl
import json
import os
import signal
import stat
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from forge_pipelines.errors import ConfigError, PlatformError
from forge_pipelines.gpu.inventory import Device
from forge_pipelines.gpu.joining import LEASE_VARIABLE, join_lease
from forge_pipelines.gpu.leases import Leases
from forge_pipelines.gpu.line import Holder
from forge_pipelines.gpu.request import GpuRequest

HERE = Holder.here("5e6f7a8b-0000", "here")


def never(sentence: str) -> None:
    raise AssertionError(f"it waited: {sentence}")


def eventually(holds: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_lease_had_at_once_says_nothing_and_is_given_back(machine: Any) -> None:
    with machine.leases.lease(GpuRequest(count=3), HERE, never) as lease:
        assert [device.index for device in lease.devices] == [0, 1, 2]
        assert machine.held() == {f"GPU-{index}": "here" for index in range(3)}
        assert machine.waiting() == []
    assert machine.held() == {}


def test_the_step_sees_its_real_devices_by_uuid(tmp_path: Path) -> None:
    def two() -> tuple[Device, ...]:
        return tuple(Device(index=index, uuid=f"MIG-GPU/{index}", name="NVIDIA", memory_bytes=1) for index in range(2))

    with Leases(tmp_path / "leases", two).lease(GpuRequest(count=2), HERE, never) as lease:
        variables = lease.variables()
        assert variables["CUDA_VISIBLE_DEVICES"] == "MIG-GPU/0,MIG-GPU/1"
        assert variables["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"


def test_simulated_devices_leave_the_step_on_the_cpu(machine: Any) -> None:
    with machine.leases.lease(GpuRequest(count=2), HERE, never) as lease:
        assert lease.variables()["CUDA_VISIBLE_DEVICES"] == ""


def test_no_gpu_is_leased_at_once_though_others_wait(machine: Any) -> None:
    machine.start(4, "all").hears("leased")
    machine.start(1, "one").hears("waiting")
    with machine.leases.lease(GpuRequest(count=0), HERE, never) as lease:
        assert lease.devices == ()


def test_leases_count_across_processes_and_waiting_says_where_and_for_whom(machine: Any) -> None:
    first = machine.start(3, "bank/trained_checkpoint")
    first.hears("leased GPU-0 GPU-1 GPU-2")
    second = machine.start(2, "second")
    said = second.hears("waiting")
    assert said.startswith(
        "waiting for 2 GPUs, 1st in the queue, held by run 1a2b3c4d (bank/trained_checkpoint) since "
    )
    third = machine.start(1, "third")
    assert third.hears("waiting").startswith("waiting for 1 GPU, 2nd in the queue, held by run 1a2b3c4d")
    assert machine.waiting() == ["second", "third"]
    first.end()
    assert second.hears("leased") == "leased GPU-0 GPU-1"
    assert third.hears("leased") == "leased GPU-2"
    assert machine.held() == {"GPU-0": "second", "GPU-1": "second", "GPU-2": "third"}


def test_a_request_beyond_the_machine_fails_at_once(machine: Any) -> None:
    with pytest.raises(ConfigError, match="asks for 5 GPUs and this machine has 4 × NVIDIA H100"):
        machine.leases.lease(GpuRequest(count=5), HERE, never).__enter__()
    with pytest.raises(ConfigError, match="none of it"):
        machine.leases.lease(GpuRequest(count=1, product="NVIDIA B200"), HERE, never).__enter__()
    assert not machine.folder.exists()


def test_four_are_not_starved_by_ones(machine: Any) -> None:
    ones = [machine.start(1, f"early {number}") for number in range(3)]
    for one in ones:
        one.hears("leased")
    four = machine.start(4, "four")
    four.hears("waiting")
    late = machine.start(1, "late")
    late.hears("waiting")
    for one in ones[:-1]:
        one.end()
    time.sleep(0.2)
    assert machine.waiting() == ["four", "late"], "a later one may not take what the first in the queue waits for"
    ones[-1].end()
    four.hears("leased GPU-0 GPU-1 GPU-2 GPU-3")
    four.end()
    late.hears("leased GPU-0")


def test_two_fours_do_not_deadlock(machine: Any) -> None:
    first = machine.start(3, "first")
    first.hears("leased")
    second = machine.start(4, "second")
    second.hears("waiting")
    third = machine.start(4, "third")
    third.hears("waiting")
    assert set(machine.held().values()) == {"first"}, "nobody holds a part while it waits for the rest"
    first.end()
    second.hears("leased")
    third.hears("waiting for 4 GPUs, 1st in the queue, held by run 1a2b3c4d (second)")
    second.end()
    third.hears("leased")


def test_products_do_not_block_each_other(machine_of: Callable[[Mapping[str, str]], Any]) -> None:
    machine = machine_of({"H1": "NVIDIA H100", "H2": "NVIDIA H100", "L1": "NVIDIA L4", "L2": "NVIDIA L4"})
    machine.start(1, "holds", "NVIDIA H100").hears("leased H1")
    machine.start(2, "waits", "NVIDIA H100").hears("waiting for 2 GPUs of product NVIDIA H100, 1st in the queue")
    machine.start(2, "passes", "NVIDIA L4").hears("leased L1 L2")
    machine.start(1, "any").hears("waiting for 1 GPU, 2nd in the queue")
    assert machine.waiting() == ["waits", "any"]


def test_the_lease_lasts_until_the_last_process_of_the_step_has_ended(machine: Any) -> None:
    guard = machine.start(4, "step", "", "joined")
    rank = int(guard.hears("joined").split()[1])
    guard.kill()
    try:
        assert set(machine.held().values()) == {"step"}
        waits = machine.start(1, "next")
        waits.hears("waiting for 1 GPU, 1st in the queue, held by run 1a2b3c4d (step)")
    finally:
        os.kill(rank, signal.SIGKILL)
    waits.hears("leased GPU-0")


def test_what_the_guard_forks_holds_the_lease_without_joining(machine: Any) -> None:
    with machine.leases.lease(GpuRequest(count=2), HERE, never):
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
    assert set(machine.held()) == {"GPU-0", "GPU-1"}
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert machine.held() == {}


def test_a_process_that_comes_after_its_lease_has_ended_is_refused(machine: Any) -> None:
    with machine.leases.lease(GpuRequest(count=1), HERE, never) as lease:
        value = lease.variables()[LEASE_VARIABLE]
    ended = pytest.raises(PlatformError, match="the lease of this step's GPUs has ended, and GPU-0 was given to")
    with machine.leases.lease(GpuRequest(count=1), HERE, never), ended:
        join_lease(value)
    assert machine.held() == {}
    join_lease(None)
    join_lease("")


def test_a_waiter_killed_in_the_middle_of_the_queue_holds_nobody_up(machine: Any) -> None:
    holder = machine.start(4, "holder")
    holder.hears("leased")
    waiters = [machine.start(4, "first")]
    for name in ("killed", "last"):
        waiters[-1].hears("waiting")
        waiters.append(machine.start(4, name))
    first, killed, last = waiters
    last.hears("waiting for 4 GPUs, 3rd in the queue")
    killed.kill()
    last.hears("waiting for 4 GPUs, 2nd in the queue")
    assert machine.waiting() == ["first", "last"]
    holder.end()
    first.hears("leased")
    first.end()
    last.hears("leased")


def test_what_dead_processes_left_is_as_good_as_nothing(machine: Any) -> None:
    machine.start(4, "held").hears("leased")
    machine.start(2, "waited").hears("waiting")
    for step in machine.steps:
        step.kill()
    (machine.folder / "tickets" / "00000000000000000001").write_text("not a ticket")
    assert json.loads((machine.folder / "devices" / "GPU-0.lock").read_text())["holder"]["step"] == "held"
    assert len(list((machine.folder / "tickets").iterdir())) == 2
    with machine.leases.lease(GpuRequest(count=4), HERE, never):
        assert set(machine.held().values()) == {"here"}
    assert not list((machine.folder / "tickets").iterdir())


def test_a_device_locked_by_hand_is_not_leased(machine: Any) -> None:
    with machine.leases.lease(GpuRequest(count=1), HERE, never):
        pass
    path = machine.folder / "devices" / "GPU-0.lock"
    path.write_text("")
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        first = machine.leases.state().devices[0]
        assert (first.held, first.tenancy) == (True, None)
        with machine.leases.lease(GpuRequest(count=3), HERE, never) as lease:
            assert [device.uuid for device in lease.devices] == ["GPU-1", "GPU-2", "GPU-3"]


def test_every_user_may_use_the_folder_whatever_the_umask(machine: Any) -> None:
    before = os.umask(0o077)
    try:
        with machine.leases.lease(GpuRequest(count=1), HERE, never):
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in machine.folder.rglob("*")}
    finally:
        os.umask(before)
    assert stat.S_IMODE(machine.folder.stat().st_mode) == 0o1777
    assert modes == {"devices": 0o1777, "tickets": 0o777, "queue.lock": 0o1666, "GPU-0.lock": 0o1666}


def test_a_folder_that_cannot_be_made_is_a_sentence(machine: Any) -> None:
    machine.folder = Path("/proc/forge")
    with pytest.raises(PlatformError, match=r"leases /proc/forge cannot be used \(.*\); name one in FORGE_GPU_LEASES"):
        machine.leases.lease(GpuRequest(count=1), HERE, never).__enter__()
    with pytest.raises(PlatformError, match="FORGE_GPU_LEASES"):
        machine.leases.state()


def test_a_link_in_the_place_of_the_folder_or_a_lock_is_refused(machine: Any, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    machine.folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PlatformError, match="FORGE_GPU_LEASES"):
        machine.leases.state()
    assert not list((tmp_path / "elsewhere").iterdir())
    machine.folder.unlink()
    machine.leases.state()
    (tmp_path / "precious").write_text("kept")
    (machine.folder / "devices" / "GPU-0.lock").unlink()
    (machine.folder / "devices" / "GPU-0.lock").symlink_to(tmp_path / "precious")
    with pytest.raises(PlatformError, match="FORGE_GPU_LEASES"):
        machine.leases.lease(GpuRequest(count=1), HERE, never).__enter__()
    assert (tmp_path / "precious").read_text() == "kept"


def test_an_inventory_that_shrinks_ends_the_wait_with_what_is_left(machine: Any) -> None:
    machine.start(1, "holder").hears("leased")
    waits = machine.start(4, "waits")
    waits.hears("waiting")
    machine.declare({"GPU-0": "NVIDIA H100", "GPU-1": "NVIDIA H100"})
    said = waits.hears("forge_pipelines.errors.PlatformError")
    assert "a GPU went away while the step waited: the step asks for 4 GPUs and this machine has 2 × NVIDIA" in said
    eventually(lambda: machine.waiting() == [])


def test_a_device_that_goes_away_before_the_step_starts_is_not_handed_out(machine: Any) -> None:
    inventory = list(machine.devices())
    holder = machine.start(4, "holder")
    holder.hears("leased")

    def lose_the_first(sentence: str) -> None:
        holder.end()
        del inventory[0]

    leases = Leases(machine.folder, lambda: tuple(inventory))
    with pytest.raises(PlatformError, match="GPU-0 went away while the step waited for it"):
        leases.lease(GpuRequest(count=1), HERE, lose_the_first).__enter__()
    assert machine.held() == {}


def test_threads_of_one_process_queue_like_processes(machine: Any) -> None:
    told: list[str] = []
    got = threading.Event()

    def wait() -> None:
        with machine.leases.lease(GpuRequest(count=4), HERE, told.append):
            got.set()

    with machine.leases.lease(GpuRequest(count=1), HERE, never):
        thread = threading.Thread(target=wait)
        thread.start()
        eventually(lambda: bool(told))
        assert not got.wait(0.1)
    assert got.wait(5)
    thread.join()
