"""What this machine has: as NVML finds it, or as a file declares it."""

import json
from pathlib import Path

import pytest

from forge_pipelines.errors import ConfigError
from forge_pipelines.gpu.inventory import Device, check_inventory, devices
from forge_pipelines.gpu.request import GpuRequest

ONE = {"uuid": "MIG-1", "name": "NVIDIA H100 MIG 1g.10gb", "memory_bytes": 10 << 30}


def test_a_file_declares_devices_in_its_order(tmp_path: Path) -> None:
    path = tmp_path / "gpus.json"
    path.write_text(json.dumps([ONE, {**ONE, "uuid": "MIG-2", "simulated": True}]))
    first, second = devices(path)
    assert first == Device(index=0, simulated=False, **ONE)
    assert (second.index, second.uuid, second.simulated) == (1, "MIG-2", True)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, r"gpus.json cannot be read \(No such file or directory\); mend FORGE_GPU_INVENTORY"),
        ("[{", "gpus.json is wrong: Invalid JSON.*; write it as"),
        ("{}", "gpus.json is wrong: Input should be a valid (array|list)"),
        (json.dumps([ONE, {"uuid": "MIG-2"}]), r"gpus.json is wrong at \[1\]\['name'\]: Field required"),
        (json.dumps([{**ONE, "memory_bytes": -1}]), r"at \[0\]\['memory_bytes'\]"),
        (json.dumps([{**ONE, "speed": 1}]), r"at \[0\]\['speed'\]: Extra inputs are not permitted"),
        (json.dumps([ONE, ONE]), "gpus.json declares MIG-1 2 times"),
    ],
    ids=["missing", "no JSON", "no list", "a field too few", "negative", "a field too many", "the same twice"],
)
def test_a_wrong_file_is_a_sentence(tmp_path: Path, text: str | None, sentence: str) -> None:
    path = tmp_path / "gpus.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=sentence):
        devices(path)


def machine(*names: str) -> list[Device]:
    return [Device(index=index, uuid=str(index), name=name, memory_bytes=1) for index, name in enumerate(names)]


def test_a_request_within_the_inventory_passes() -> None:
    check_inventory(GpuRequest(count=2, product="NVIDIA H"), machine("NVIDIA H100", "NVIDIA H200", "NVIDIA L4"))
    check_inventory(GpuRequest(count=0), [])


def test_more_than_there_is_fails_with_what_there_is() -> None:
    there = machine("NVIDIA H100", "NVIDIA H100", "NVIDIA L4")
    with pytest.raises(ConfigError, match="asks for 4 GPUs and this machine has 2 × NVIDIA H100, 1 × NVIDIA L4; "):
        check_inventory(GpuRequest(count=4), there)
    with pytest.raises(ConfigError, match="asks for 2 GPUs of product NVIDIA L4 and this machine has 1 of it: 2 × "):
        check_inventory(GpuRequest(count=2, product="NVIDIA L4"), there)


def test_a_product_that_no_device_has_fails_with_what_there_is() -> None:
    with pytest.raises(ConfigError, match=r"product NVIDIA B200 and .* has none of it: 1 × NVIDIA L4"):
        check_inventory(GpuRequest(count=1, product="NVIDIA B200"), machine("NVIDIA L4"))


def test_a_machine_without_devices_says_so() -> None:
    with pytest.raises(ConfigError, match="asks for 1 GPU of product X and this machine has no NVIDIA device"):
        check_inventory(GpuRequest(count=1, product="X"), [])


@pytest.mark.gpu
@pytest.mark.skipif(not devices(), reason="no NVIDIA device is visible")
def test_nvml_knows_every_device_by_the_name_that_cuda_takes() -> None:
    found = devices()
    assert [device.index for device in found] == list(range(len(found)))
    assert len({device.uuid for device in found}) == len(found)
    for device in found:
        assert device.uuid.startswith("GPU-")
        assert device.name.startswith("NVIDIA")
        assert device.memory_bytes > 1 << 30
        assert not device.simulated
