"""What a training will take: tokens, pace, and what would fit where it does not."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import planned
import pytest
import yaml

from forge_pipelines.errors import ConfigError, DataError
from forge_pipelines.gpu.request import GpuRequest
from forge_pipelines.manifest import Classification, Manifest, StageRequest
from forge_pipelines.store import Made, Store
from forge_pipelines.training.cards import card_named
from forge_pipelines.training.config import LoraConfig, TrainingConfig
from forge_pipelines.training.memory import Layout
from forge_pipelines.training.plan import Plan, make_plan
from forge_pipelines.training.planned_tokens import known_sequences, shards_made
from forge_pipelines.training.ranks import TrainingEnvironment
from forge_pipelines.training.recipe import settle
from forge_pipelines.training.remedies import Machine, needed_bytes, remedies
from forge_pipelines.training.speed import UTILIZATION, Pace, cpu_name, flops_per_token, pace_of_earlier, pace_of_peak
from forge_pipelines.training.stage import train

Recipe = Callable[..., TrainingConfig]
ALONE = {"gpus": {"count": 0}}


def planned_for(store: Store, config: TrainingConfig, machine: Machine = planned.CPU, **changes: Any) -> Plan:
    base = changes.pop("base", None)
    log = Path(store.address).parent / "plan.log"
    return make_plan("words", base, planned.shards_config(**changes), config, machine, store, log)


def changed(layout: Layout, remedy: str) -> Layout:
    """Return the layout that a remedy, as it would be written into YAML, leads to."""
    length = re.search(r"shards\.sequence_length: (\d+)", remedy)
    written = yaml.safe_load(re.sub(r"^.*?training[.:] ?", "", remedy).rpartition(" (")[0])
    return layout.model_copy(
        update={
            "micro_batch": written.get("micro_batch_sequences", layout.micro_batch),
            "zero_stage": written.get("zero_stage", layout.zero_stage),
            "ranks": written.get("gpus", {}).get("count", layout.ranks),
            "sequence_length": int(length[1]) if length else layout.sequence_length,
            "recomputed": written.get("gradient_checkpointing", layout.recomputed),
            "offload": written.get("offload", layout.offload),
            "adapted": "lora" in written or layout.adapted,
        }
    )


@pytest.mark.parametrize("gib", [22.5, 40, 80, 141, 170, 190])
def test_each_remedy_fits_by_the_same_formula(gib: float) -> None:
    layout, machine = planned.layout(), planned.gpu(gib)
    assert needed_bytes(planned.MISTRAL_7B, layout, machine) > machine.memory_bytes
    told = list(remedies(planned.MISTRAL_7B, layout, 64, machine, may_adapt=True))
    assert told
    of_the_recipe = [remedy for remedy in told if "training" in remedy]
    assert of_the_recipe
    for remedy in of_the_recipe:
        better = changed(layout, remedy)
        assert better != layout
        assert needed_bytes(planned.MISTRAL_7B, better, machine) <= machine.memory_bytes
        assert f"({needed_bytes(planned.MISTRAL_7B, better, machine) / 2**30:,.1f} GiB" in remedy


def test_seven_billion_fit_a_card_of_24_gb_as_an_adapter_and_one_of_80_with_their_optimizer_beside_it() -> None:
    def told(card: str, *, may_adapt: bool) -> list[str]:
        machine = planned.card(card)
        return list(remedies(planned.MISTRAL_7B, planned.layout(), 64, machine, may_adapt=may_adapt))

    small = told("RTX 4090", may_adapt=True)
    assert small[0].startswith("training: {lora: {rank: 16}, gradient_checkpointing: true, micro_batch_sequences: ")
    assert not any("lora" in remedy for remedy in told("RTX 4090", may_adapt=False))
    large = told("H100 80GB", may_adapt=True)
    assert large[0].startswith("training: {offload: optimizer, gradient_checkpointing: true, micro_batch_sequences: ")
    assert large[0].endswith(" of the machine's memory)")
    assert "lora" in large[1]


def test_a_smaller_micro_batch_comes_before_more_gpus_and_is_the_largest_that_fits() -> None:
    layout, machine = planned.layout(micro_batch=8, sequence_length=1024), planned.gpu(175)
    micro, again, _, ranks, card = remedies(planned.MISTRAL_7B, layout, 8, machine, may_adapt=False)
    better = changed(layout, micro)
    assert micro.startswith("training.micro_batch_sequences: ")
    larger = layout.model_copy(update={"micro_batch": better.micro_batch * 2})
    assert needed_bytes(planned.MISTRAL_7B, larger, machine) > machine.memory_bytes
    assert changed(layout, again).micro_batch > better.micro_batch
    assert ranks.startswith("training: {zero_stage: ")
    assert changed(layout, ranks).ranks == 2
    assert card.startswith("one NVIDIA ")


def test_sequences_are_shortened_only_where_no_number_of_gpus_helps() -> None:
    short, long = planned.layout(micro_batch=1, sequence_length=512), planned.layout(micro_batch=1)
    machine = planned.gpu(18)
    assert "sequence_length" not in next(remedies(planned.MISTRAL_7B, short, 64, machine, may_adapt=False))
    shorter = next(remedies(planned.MISTRAL_7B, long, 64, machine, may_adapt=False))
    assert shorter.startswith("shards.sequence_length: ")


def test_a_batch_that_the_ranks_do_not_divide_is_part_of_the_remedy() -> None:
    layout = planned.layout(micro_batch=1, sequence_length=512)
    [_, ranks, _] = remedies(planned.MISTRAL_7B, layout, 1, planned.gpu(80), may_adapt=False)
    better = changed(layout, ranks)
    assert f"batch_sequences: {better.ranks}}}" in ranks


def test_a_cpu_is_told_how_much_memory_would_do_for_all_ranks() -> None:
    machine = Machine("CPU", 1 << 30, None, here=True)
    layout = planned.layout(ranks=2, micro_batch=1)
    [remedy] = remedies(planned.MISTRAL_7B, layout, 2, machine, may_adapt=True)
    alone = needed_bytes(planned.MISTRAL_7B, layout.model_copy(update={"ranks": 1}), machine)
    assert remedy.startswith("a machine with ")
    assert needed_bytes(planned.MISTRAL_7B, layout, machine) > alone


def test_flops_are_six_a_parameter_and_what_attention_adds() -> None:
    multiplied = planned.MISTRAL_7B.parameters - 32000 * 4096
    assert flops_per_token(planned.MISTRAL_7B, 4096) == 6 * multiplied + 12 * 32 * 4096 * 4096


def test_gpus_take_a_share_of_their_peak_and_twice_as_many_are_twice_as_fast(recipe: Recipe) -> None:
    one, two = planned.layout(), planned.layout(ranks=2)
    config = recipe(precision="bf16", steps=50)
    pace = pace_of_peak(planned.MISTRAL_7B, one, config, 1e15)
    reached = pace.tokens_per_second * flops_per_token(planned.MISTRAL_7B, 4096)
    assert reached == pytest.approx(UTILIZATION * 1e15)
    assert pace_of_peak(planned.MISTRAL_7B, two, config, 1e15).tokens_per_second == pytest.approx(
        2 * pace.tokens_per_second
    )
    small = planned.MISTRAL_7B.model_copy(update={"parameters": 2_000_000, "looked_up": 0, "queries": 64, "layers": 4})
    launched = pace_of_peak(small, planned.layout(micro_batch=1, sequence_length=128), config, 1e15)
    assert "launching its kernels" in launched.source
    assert launched.tokens_per_second == pytest.approx(128 / 0.004)


def test_tokens_are_steps_times_batch_times_length_and_without_a_corpus_nobody_knows_the_epochs(
    store: Store, recipe: Recipe
) -> None:
    plan = planned_for(store, recipe(steps=10, batch_sequences=4), planned.gpu(80))
    assert plan.tokens.total == 10 * 4 * 32
    assert plan.tokens.epochs is None
    assert plan.tokens.source.startswith("words/validated_corpus was never made")


def test_sequences_are_guessed_from_the_corpora_until_there_are_shards(store: Store, recipe: Recipe) -> None:
    planned.publish_corpus(store, characters=160_000, train=80, heldout=20)
    config = recipe(steps=10, batch_sequences=4)
    guessed = planned_for(store, config, planned.gpu(80)).tokens
    assert guessed.sequences == 160_000 * 80 // 100 // 4 // 32 == 1000
    assert guessed.epochs == pytest.approx(0.04)
    assert "guessed" in guessed.source
    publish_words(store)
    made = planned_for(store, config, planned.gpu(80)).tokens
    assert (made.sequences, made.epochs) == (20, 2.0)
    assert made.source == "as its shards have them"
    assert "guessed" in planned_for(store, config, planned.gpu(80), sequence_length=64).tokens.source


def test_pairs_are_guessed_to_be_as_many_as_documents_and_what_is_replayed_counts_too(store: Store) -> None:
    planned.publish_corpus(store, characters=160_000, train=80, heldout=20)
    assert known_sequences(planned.shards_config(), "preferences", None, store)[0] == 80
    sequences, source = known_sequences(planned.shards_config(replay={"corpus": "wiki"}), "texts", None, store)
    assert sequences is None
    assert source.startswith("wiki/validated_corpus was never made")


def test_shards_of_other_examples_are_not_those_that_are_planned(store: Store) -> None:
    made = publish_words(store)
    assert shards_made("words", planned.shards_config(), "texts", store) == made
    assert shards_made("words", planned.shards_config(), "chats", store) is None
    assert shards_made("words", planned.shards_config(replay={"corpus": "wiki"}), "texts", store) is None


def publish_words(store: Store, like: Path | None = None) -> Manifest:
    """Publish shards with their counts: by name alone, or with the files of a folder."""
    request = StageRequest(
        kind="tokenized_shards",
        name="words",
        inputs={},
        parameters={**planned.shards_config().model_dump(mode="json"), "examples": "texts"},
        code_version="1",
    )

    def make(folder: Path) -> Made:
        if like is not None:
            shutil.copytree(like, folder, dirs_exist_ok=True)
        return Made({"sequences": 20, "vocabulary": 300, "sequence_length": 32}, Classification.PUBLIC)

    return store.obtain(request, make).manifest


def test_the_precision_is_the_machines(store: Store, recipe: Recipe) -> None:
    def precision(machine: Machine, **changes: Any) -> str:
        return planned_for(store, recipe(**{"precision": "auto", **ALONE, **changes}), machine).recipe.precision

    def machine(name: str) -> Machine:
        card = card_named(name)
        return Machine(card.name, card.memory_bytes, card, here=False)

    assert precision(machine("T4")) == "fp32"
    assert precision(machine("L4")) == "bf16"
    assert precision(machine("L4"), precision="fp32") == "fp32"


def test_it_is_planned_as_it_will_be_compiled(store: Store, recipe: Recipe) -> None:
    def compiled(card: str, **changes: Any) -> bool:
        return planned_for(
            store, recipe(**{"precision": "auto", **ALONE, **changes}), planned.card(card)
        ).layout.compiled

    assert compiled("L4")
    assert not compiled("T4")
    assert not compiled("L4", compile=False)


def test_a_base_is_planned_without_its_weights(store: Store, recipe: Recipe) -> None:
    config = {
        **planned.MIDDLING,
        "vocab_size": 300,
        "max_position_embeddings": 64,
        "architectures": ["LlamaForCausalLM"],
    }
    planned.publish_base_without_weights(store, config)
    plan = planned_for(store, recipe(architecture=None), planned.gpu(80), base="open_one")
    assert plan.shape.parameters == 18_008_576
    assert plan.begins_with == "goes on from open_one"
    sentence = r"sequences of 128 tokens are longer than .* \(max_position_embeddings is 64\); lower"
    with pytest.raises(ConfigError, match=sentence):
        planned_for(store, recipe(architecture=None), planned.gpu(80), base="open_one", sequence_length=128)


def test_a_base_that_was_never_brought_in_is_one_sentence(store: Store, recipe: Recipe) -> None:
    with pytest.raises(DataError, match=r"no base is named other .*; bring it in with `forge import-base other PLACE`"):
        planned_for(store, recipe(architecture=None), base="other")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"num_key_value_heads": 3}, r"num_attention_heads \(8\) is no multiple of num_key_value_heads \(3\)"),
        ({"hidden_size": "wide"}, "hidden_size"),
        ({"hidden_act": "swoosh"}, "swoosh"),
    ],
)
def test_a_recipe_that_gives_no_network_is_one_sentence(
    store: Store, recipe: Recipe, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ConfigError, match=f"words: training.architecture gives no network: .*{reason}") as raised:
        planned_for(store, recipe(architecture={**planned.MIDDLING, **changes}), planned.gpu(80))
    assert "\n" not in str(raised.value)


def test_what_trained_before_in_the_same_shape_says_how_fast_and_the_guess_before_it_was_near(
    store: Store, shards: Manifest, recipe: Recipe, environment: TrainingEnvironment
) -> None:
    made = publish_words(store, like=store.open(shards))
    config = recipe(**ALONE, architecture=planned.MIDDLING, steps=4, batch_sequences=8)
    before = planned_for(store, config)
    assert before.pace is not None
    assert "timed on this CPU" in before.pace.source
    trained = train("words", made, config, store, environment).manifest
    rate = trained.measured["tokens_per_second"]

    def earlier(*, length: int = 32, device: str = cpu_name(), **changes: Any) -> Pace | None:
        return pace_of_earlier(settle(config, made).model_copy(update=changes), length, None, device, store)

    assert rate / 5 < before.pace.tokens_per_second < rate * 5, "the promise, on a quiet machine, is 25 %"

    after = planned_for(store, config)
    assert after.pace is not None
    assert after.pace.source.startswith(f"measured when words {trained.fingerprint[:12]} was trained")
    assert after.pace.tokens_per_second == rate
    assert after.seconds == pytest.approx(trained.made_in_seconds)
    assert after.gpu_hours is None
    assert after.pace == earlier(steps=12)
    for other in (
        {"batch_sequences": 4},
        {"precision": "bf16"},
        {"zero_stage": 0},
        {"gpus": GpuRequest(count=2)},
        {"gradient_checkpointing": True},
        {"lora": LoraConfig()},
    ):
        assert earlier(**other) is None
    assert earlier(length=64) is None
    assert earlier(device=planned.gpu(80).device) is None
