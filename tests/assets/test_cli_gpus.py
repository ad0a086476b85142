"""`forge gpus` shows every device with its holder, and the queue in order."""

import json
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from forge_assets.cli.gpus import show_gpus
from forge_assets.settings import Settings, load_settings
from forge_pipelines.gpu.inventory import devices
from forge_pipelines.gpu.leases import Leases
from forge_pipelines.gpu.line import Holder
from forge_pipelines.gpu.request import GpuRequest


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A site of two declared devices."""
    items = [{"uuid": f"GPU-{index}", "name": "NVIDIA H100", "memory_bytes": 80 << 30} for index in range(2)]
    (tmp_path / "gpus.json").write_text(json.dumps(items))
    monkeypatch.setenv("FORGE_HOME", str(tmp_path))
    monkeypatch.setenv("FORGE_GPU_INVENTORY", str(tmp_path / "gpus.json"))
    monkeypatch.setenv("FORGE_GPU_LEASES", str(tmp_path / "leases"))
    monkeypatch.setenv("COLUMNS", "140")
    return load_settings()


def lines(capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    return [line.split() for line in capsys.readouterr().out.splitlines()]


def test_devices_are_free_when_nobody_holds_them(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert show_gpus(settings) == 0
    assert lines(capsys)[1:] == [[index, "NVIDIA", "H100", "80", "GiB", "free"] for index in "01"]


def test_holders_and_the_queue_are_shown(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert settings.gpu_leases.name == "leases"
    leases = Leases(settings.gpu_leases, partial(devices, settings.gpu_inventory))
    waits = threading.Event()

    def wait() -> None:
        holder = Holder.here("99999999-1", "shop/evaluation_report")
        with leases.lease(GpuRequest(count=2), holder, lambda _: waits.set()):
            pass

    holder = Holder.here("1a2b3c4d-0", "bank/trained_checkpoint")
    with leases.lease(GpuRequest(count=1), holder, pytest.fail):
        thread = threading.Thread(target=wait)
        thread.start()
        assert waits.wait(5)
        assert show_gpus(settings) == 0
    thread.join()
    _, first, second, _, _, queue = lines(capsys)
    day = time.strftime("%Y-")
    assert first[5:9] == ["run", "1a2b3c4d", "of", holder.user]
    assert first[9] == "bank/trained_checkpoint"
    assert first[10].startswith(day)
    assert second[5:] == ["free"]
    assert queue[:7] == ["1", "2", "GPUs", "run", "99999999", "of", holder.user]
    assert queue[7] == "shop/evaluation_report"


def test_a_machine_without_devices_is_one_sentence(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert settings.gpu_inventory is not None
    settings.gpu_inventory.write_text("[]")
    assert show_gpus(settings) == 0
    assert capsys.readouterr().out.startswith("this machine has no NVIDIA device or driver; FORGE_GPU_INVENTORY may")
