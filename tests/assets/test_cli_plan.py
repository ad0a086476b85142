"""`forge plan` says what training will take, for this machine or for a card that it names."""

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from command_line import Forge

from forge_assets.cli.plan import Wish, machine_for
from forge_assets.settings import Settings
from forge_pipelines.errors import ConfigError
from forge_pipelines.gpu.request import GpuRequest

Run = Callable[..., tuple[int, dict[str, list[str]], str]]


@pytest.fixture
def run(settings: Settings, forge: Forge) -> Run:
    """Call `forge plan`; return its exit code, its lines by what they are about, and what it said of what is wrong."""
    assert settings.home

    def call(*arguments: str) -> tuple[int, dict[str, list[str]], str]:
        code, lines, said = forge("plan", *arguments)
        about: dict[str, list[str]] = {}
        label = ""
        for line in lines:
            label = line[:11].strip() or label
            about.setdefault(label, []).append(line[11:].strip())
        return code, about, said

    return call


def test_tokens_memory_hours_price_and_finish_are_told(run: Run) -> None:
    before = datetime.now().astimezone().replace(second=0, microsecond=0)
    code, about, said = run("tiny", "--gpu", "L40S", "--price-per-gpu-hour", "3.6")
    assert (code, said) == (0, "")
    assert about["model"] == ["tiny from scratch: mistral, 1,836,160 parameters, all trained"]
    assert about["tokens"] == ["512,000: 500 steps × 4 sequences × 256 tokens"]
    assert about["epochs"][0] == "not known"
    assert about["on"] == ["NVIDIA L40S: 1 rank in bf16, ZeRO stage 1, 4 of 4 sequences at once"]
    parts = [line.split()[2:] for line in about["memory"]]
    assert parts[0] == ["weights"]
    assert parts[-2:] == [["reserve"], ["one", "rank"]]
    assert about["fits"][0].startswith("yes: ")
    assert about["fits"][0].endswith("44.99 GiB is what the GPU has")
    assert "would fit" not in about
    assert about["price"][0].endswith(" at 3.60 a GPU-hour")
    hours, price = float(about["GPU-hours"][0]), float(about["price"][0].split()[0])
    assert price == pytest.approx(hours * 3.6, abs=0.02)
    finished = datetime.strptime(about["finished"][0][:16], "%Y-%m-%d %H:%M").astimezone()
    assert before < finished
    assert (finished - before).total_seconds() == pytest.approx(hours * 3600, abs=150)


def test_what_does_not_fit_is_exit_code_1_with_what_would(run: Run) -> None:
    code, about, said = run("tiny", "--gpu-memory", "1.8GiB")
    assert (code, said) == (1, "")
    assert about["fits"][0].startswith("no: ")
    assert about["fits"][0].endswith("GiB are needed, 1.80 GiB is what the GPU has")
    assert about["on"][0].endswith(", 1 of 4 sequences at once")
    less = "training: {offload: optimizer, gradient_checkpointing: true, micro_batch_sequences: 1} "
    assert about["would fit"][0].startswith(less)
    assert about["would fit"][-1].startswith("or one NVIDIA ")
    assert about["time"] == ["not known: nobody says how fast a GPU of 1.8GiB is; name the card (--gpu)"]
    assert about["price"] == ["not priced"]


def test_a_model_that_does_not_exist_is_one_sentence_with_those_that_do(run: Run) -> None:
    assert run("python_docs")[::2] == (1, "forge: no model is named python_docs; there are bank_assistant, tiny\n")


def test_a_base_that_was_never_brought_in_is_one_sentence(run: Run) -> None:
    code, about, said = run("bank_assistant")
    assert (code, about) == (1, {})
    assert said.startswith("forge: no base is named smollm2_135m_instruct in ")
    assert said.endswith("bring it in with `forge import-base smollm2_135m_instruct PLACE`\n")


def declared(settings: Settings, folder: Path, *names: str, simulated: bool = False) -> Settings:
    items = [
        {"uuid": f"GPU-{index}", "name": name, "memory_bytes": (80 + index) << 30, "simulated": simulated}
        for index, name in enumerate(names)
    ]
    (folder / "gpus.json").write_text(json.dumps(items))
    return settings.model_copy(update={"gpu_inventory": folder / "gpus.json"})


def test_this_machines_devices_are_planned_for_and_of_several_the_smallest(settings: Settings, tmp_path: Path) -> None:
    site = declared(settings, tmp_path, "NVIDIA L4", "NVIDIA H100 80GB HBM3", "NVIDIA H100 80GB HBM3")
    machine = machine_for(GpuRequest(count=2, product="NVIDIA H100"), Wish(), site)
    assert (machine.device, machine.memory_bytes, machine.here) == ("NVIDIA H100 80GB HBM3", 81 << 30, True)
    assert machine.card is not None
    assert machine.card.flops("bf16") == 989e12
    with pytest.raises(ConfigError, match="this machine has 2 of it"):
        machine_for(GpuRequest(count=3, product="NVIDIA H100"), Wish(), site)
    assert not machine_for(GpuRequest(count=0), Wish(), site).on_gpu


def test_simulated_devices_and_none_are_the_cpu_and_where_that_is_forbidden_a_sentence(
    settings: Settings, tmp_path: Path
) -> None:
    for site in (declared(settings, tmp_path), declared(settings, tmp_path, "NVIDIA L4", simulated=True)):
        machine = machine_for(GpuRequest(count=1), Wish(), site)
        assert not machine.on_gpu
        assert machine.here
        strict = site.model_copy(update={"when_no_gpu": "fail"})
        with pytest.raises(ConfigError, match="training asks for 1 GPU and this machine has none; say --gpu NAME"):
            machine_for(GpuRequest(count=1), Wish(), strict)


def test_a_clusters_gpus_are_those_that_the_recipe_names(settings: Settings, tmp_path: Path) -> None:
    site = settings.model_copy(update={"kubernetes": tmp_path / "cluster.yaml"})
    machine = machine_for(GpuRequest(count=4, product="NVIDIA H200"), Wish(), site)
    assert (machine.device, machine.here) == ("NVIDIA H200", False)
    with pytest.raises(ConfigError, match="the GPUs of the cluster are not known here; say --gpu NAME"):
        machine_for(GpuRequest(count=4), Wish(), site)


def test_a_named_card_may_have_another_memory(settings: Settings) -> None:
    machine = machine_for(GpuRequest(count=1), Wish(gpu="A100", gpu_memory="20GiB"), settings)
    assert (machine.device, machine.memory_bytes) == ("NVIDIA A100-SXM4-40GB", 20 << 30)
    assert machine.card is not None
    assert machine.card.flops("bf16") == 312e12
