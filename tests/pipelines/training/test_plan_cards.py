"""Cards are found by what people call them, and memory is read as it is written."""

import pytest

from forge_pipelines.errors import ConfigError
from forge_pipelines.training.cards import CARDS, bytes_of, card_named, find_card


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("NVIDIA L40S", "NVIDIA L40S"),
        ("l4", "NVIDIA L4"),
        ("A10", "NVIDIA A10"),
        ("rtx 4090", "NVIDIA GeForce RTX 4090"),
        ("H100", "NVIDIA H100 PCIe"),
        ("NVIDIA H100 80GB", "NVIDIA H100 80GB HBM3"),
        ("A100", "NVIDIA A100-SXM4-40GB"),
    ],
)
def test_a_card_is_found_by_its_name_or_how_it_begins_and_of_several_the_least(said: str, name: str) -> None:
    assert card_named(said).name == name


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_each_card_is_found_by_its_own_name_and_is_faster_in_bf16(card: object) -> None:
    assert find_card(card.name) is card  # type: ignore[attr-defined]
    assert card.flops("bf16") is None or card.flops("bf16") > card.flops("fp32")  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["", " ", "Voodoo 2", "NVIDIA L400"])
def test_an_unknown_card_is_one_sentence_with_those_that_are_known(name: str) -> None:
    with pytest.raises(ConfigError, match=r"is not known here \(Tesla T4, A10, .*; say --gpu-memory, for example 24GB"):
        card_named(name)


@pytest.mark.parametrize(
    ("size", "num_bytes"),
    [("24GB", 24 * 10**9), ("24 gib", 24 << 30), ("0.5TB", 5 * 10**11), ("81559MiB", 81559 << 20)],
)
def test_memory_is_read_as_it_is_written(size: str, num_bytes: int) -> None:
    assert bytes_of(size) == num_bytes


@pytest.mark.parametrize("size", ["24", "GB", "-1GB", "0GB", "24 apples", ""])
def test_what_is_no_memory_is_one_sentence(size: str) -> None:
    with pytest.raises(ConfigError, match=r"is no size; write it as 24GB or 24GiB"):
        bytes_of(size)
