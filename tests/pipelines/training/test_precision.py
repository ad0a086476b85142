"""Which number format a training takes when its recipe leaves that open."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from forge_pipelines.gpu.inventory import devices
from forge_pipelines.manifest import Manifest
from forge_pipelines.store import Store
from forge_pipelines.training.config import TrainingConfig
from forge_pipelines.training.precision import has_fast_bf16, settled_precision
from forge_pipelines.training.ranks import TrainingEnvironment
from forge_pipelines.training.recipe import settle
from forge_pipelines.training.stage import train, training_request

Recipe = Callable[..., TrainingConfig]
ON_THE_CPU = {"precision": "auto", "gpus": {"count": 0}}


@pytest.mark.parametrize(
    ("flags", "fast"),
    [
        ("fpu avx512f avx512_bf16 avx512_fp16 amx_bf16 avx512_vnni amx_tile", True),
        ("fpu avx512f avx512_bf16 avx512_fp16 avx512_vnni", False),
        ("fpu avx2", False),
    ],
)
def test_a_cpu_needs_tiles_to_be_faster_in_bf16(tmp_path: Path, flags: str, fast: bool) -> None:
    described = tmp_path / "cpuinfo"
    described.write_text(f"processor\t: 0\nmodel name\t: A CPU with amx_bf16 in its name\nflags\t\t: {flags}\n" * 2)
    assert has_fast_bf16("cpu", described) is fast


def test_a_cpu_that_linux_describes_without_flags_is_not_taken_for_fast(tmp_path: Path) -> None:
    described = tmp_path / "cpuinfo"
    described.write_text("processor\t: 0\nFeatures\t: fp asimd bf16\n")
    assert not has_fast_bf16("cpu", described)


@pytest.mark.skipif(not has_fast_bf16("cpu"), reason="this machine's CPU has no tiles")
def test_a_cpu_with_tiles_multiplies_bf16_faster_than_fp32() -> None:
    def seconds(dtype: torch.dtype) -> float:
        left, right = torch.randn(512, 576, dtype=dtype), torch.randn(576, 1536, dtype=dtype)
        started = time.process_time()
        for _ in range(20):
            left @ right
        return time.process_time() - started

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    pairs = [(seconds(torch.bfloat16), seconds(torch.float32)) for _ in range(5)]
    torch.set_num_threads(threads)
    bf16, fp32 = (min(times) for times in zip(*pairs, strict=True))
    assert bf16 < fp32


@pytest.mark.skipif(bool(devices()), reason="this machine has an NVIDIA device")
def test_where_there_is_no_gpu_a_recipe_that_asks_for_some_goes_by_the_cpu(recipe: Recipe) -> None:
    assert not has_fast_bf16("cuda")
    wished = settled_precision(recipe(precision="auto", gpus={"count": 2}))
    assert wished == settled_precision(recipe(**ON_THE_CPU)) == ("bf16" if has_fast_bf16("cpu") else "fp32")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA device is visible")
def test_gpus_take_bf16_where_cuda_says_that_they_have_it() -> None:
    assert has_fast_bf16("cuda") == torch.cuda.is_bf16_supported(including_emulation=False)


@pytest.mark.parametrize("named", ["fp32", "bf16"])
def test_a_recipe_that_names_its_precision_keeps_it(recipe: Recipe, named: str) -> None:
    assert settled_precision(recipe(precision=named)) == named


def test_the_choice_is_part_of_what_a_training_is_known_by(shards: Manifest, recipe: Recipe) -> None:
    chosen = settled_precision(recipe(**ON_THE_CPU))
    other = {"fp32": "bf16", "bf16": "fp32"}[chosen]
    keys = {
        precision: training_request("tiny", shards, recipe(**{**ON_THE_CPU, "precision": precision})).key
        for precision in ("auto", chosen, other)
    }
    assert keys["auto"] == keys[chosen] != keys[other]


def test_a_training_that_chose_its_precision_is_published_with_it_and_found_again_under_its_name(
    store: Store, shards: Manifest, recipe: Recipe, environment: TrainingEnvironment
) -> None:
    config = recipe(**ON_THE_CPU, steps=1)
    said: list[str] = []
    made = train("tiny", shards, config, store, environment, lambda progress: said.append(progress.message))
    chosen = made.manifest.parameters["precision"]
    assert chosen == settled_precision(config)
    assert any(f"in {chosen}" in message for message in said)
    assert not train("tiny", shards, settle(config, shards), store, environment).fresh
