"""An open model comes in checked, as safetensors, with its provenance; or is refused in one sentence."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from open_models import CHAT_TEMPLATE, change_json, hand_over, write_gguf
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from forge_pipelines.bases.architecture import FAMILIES, reduce_configuration
from forge_pipelines.bases.config import BaseConfig
from forge_pipelines.bases.place import look_at
from forge_pipelines.bases.stage import KIND, import_base, latest_base
from forge_pipelines.errors import DataError, PlatformError
from forge_pipelines.manifest import Manifest
from forge_pipelines.store import Store


@pytest.fixture
def handed(tmp_path: Path) -> Path:
    """A small Llama as its makers hand it over."""
    return hand_over(tmp_path / "handed")


def bring_in(place: Path | str, store: Store, tmp_path: Path) -> Manifest:
    config = BaseConfig.model_validate({"name": "llama", "place": str(place), "licence": "Apache-2.0"})
    return import_base(config, store, tmp_path / "import.log").manifest


def test_a_folder_comes_in_bit_for_bit_and_transformers_loads_it(handed: Path, store: Store, tmp_path: Path) -> None:
    base = bring_in(handed, store, tmp_path)
    folder = store.open(base)
    before, after = (load_file(each / "model.safetensors") for each in (handed, folder))
    assert all(torch.equal(before[name], after[name]) for name in before | after)
    assert AutoModelForCausalLM.from_pretrained(folder).config.max_position_embeddings == 128
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.decode(tokenizer.encode("Twö boats\n\n", add_special_tokens=False)) == "Twö boats\n\n"
    assert tokenizer.chat_template == CHAT_TEMPLATE
    assert base.counts["weights"] == "as they were, bf16"
    said = json.loads((folder / "provenance.json").read_text())
    assert (said["licence"], [entry["path"] for entry in said["files"]][-1]) == ("Apache-2.0", "model.safetensors")


@pytest.mark.parametrize("family", FAMILIES)
def test_every_allowed_family_is_taken_as_transformers_saves_it(family: str, tmp_path: Path) -> None:
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4}
    AutoConfig.for_model(family, **sizes).save_pretrained(tmp_path)
    reduced = reduce_configuration(json.loads((tmp_path / "config.json").read_text()))
    rebuilt = AutoConfig.for_model(**reduced)
    assert (rebuilt.model_type, rebuilt.intermediate_size) == (family, 48)


def test_the_same_model_again_is_found_and_not_converted(handed: Path, store: Store, tmp_path: Path) -> None:
    config = BaseConfig.model_validate({"name": "llama", "place": str(handed), "licence": "MIT"})
    fresh = [import_base(config, store, tmp_path / "log").fresh for _ in range(2)]
    assert fresh == [True, False]


def test_a_gguf_file_comes_in_as_bf16_that_says_what_it_was(handed: Path, store: Store, tmp_path: Path) -> None:
    base = bring_in(write_gguf(handed, tmp_path / "small.Q8_0.gguf"), store, tmp_path)
    assert (base.counts["form"], base.counts["weights"]) == ("GGUF Q8_0", "recovered from 8-bit weights")
    before, after = (load_file(each / "model.safetensors") for each in (handed, store.open(base)))
    for name, weights in before.items():
        assert torch.allclose(after[name].float(), weights.float(), atol=0.005), name


def pickle_only(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def drop_a_weight(folder: Path) -> None:
    from safetensors.torch import save_file

    weights = load_file(folder / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def in_config(**values: Any) -> Callable[[Path], None]:
    return lambda folder: change_json(folder / "config.json", **values)


def in_tokenizer_config(**values: Any) -> Callable[[Path], None]:
    return lambda folder: change_json(folder / "tokenizer_config.json", **values)


def says_it_is(family: str, **values: Any) -> Callable[[Path], None]:
    """Let the configuration name another family, with none of Llama's own keys."""
    own = dict.fromkeys(("attention_bias", "mlp_bias", "head_dim"))
    return in_config(model_type=family, **own, **values)


def in_generation_config(**values: Any) -> Callable[[Path], None]:
    return lambda folder: change_json(folder / "generation_config.json", **values)


def test_a_hint_that_no_code_is_to_be_run_does_no_harm(handed: Path, store: Store, tmp_path: Path) -> None:
    change_json(handed / "tokenizer_config.json", trust_remote_code=False)
    assert bring_in(handed, store, tmp_path).counts["model_type"] == "llama"


def test_a_model_that_asks_for_an_attention_that_transformers_has_is_taken(handed: Path) -> None:
    without = look_at(handed).architecture
    for own in (None, "eager", *ALL_ATTENTION_FUNCTIONS.valid_keys()):
        change_json(handed / "config.json", attn_implementation=own, _attn_implementation_autoset=True)
        assert look_at(handed).architecture == without


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda folder: (folder / "tokenizer.json").unlink(), r"has no tokenizer\.json"),
        (lambda folder: (folder / "config.json").unlink(), r"config\.json is missing"),
        (lambda folder: (folder / "config.json").write_text("{"), "not readable as JSON"),
        (lambda folder: (folder / "model.safetensors").unlink(), "holds no weights"),
        (pickle_only, r"only as pickles \(pytorch_model\.bin\).*convert them to safetensors"),
        (drop_a_weight, r"lack model\.norm\.weight"),
        (in_config(auto_map={"AutoModel": "evil.Model"}), r"config\.json names code of its own \(auto_map\)"),
        (in_config(rope_scaling={"type": "linear", "auto_map": "evil"}), r"code of its own \(auto_map\)"),
        (
            in_config(rope_scaling={"type": "linear", "deep": [{"trust_remote_code": True}]}),
            r"code .*\(trust_remote_code",
        ),
        (in_config(custom_pipelines={"chat": {"impl": "evil.Chat"}}), r"code of its own \(custom_pipelines\)"),
        (
            in_config(_attn_implementation="hub/evil"),
            r"'hub/evil' \(_attn_implementation\), which is none that transformers has itself \(eager, sdpa, ",
        ),
        (in_config(attn_implementation={"": "hub/evil"}), r"code of its own is never run; remove attn_implementation"),
        (in_generation_config(experts_implementation="evil"), r"generation_config\.json asks for .* 'evil' \(experts_"),
        (in_config(architectures=["MistralForCausalLM"]), r"architectures is \['MistralForCausalLM'\] and .* 'llama'"),
        (in_config(architectures=["LlamaForTokenClassification"]), "whose language model is LlamaForCausalLM"),
        (says_it_is("mistral"), "and model_type is 'mistral', whose language model is MistralForCausalLM"),
        (says_it_is("qwen2", architectures=["Qwen2ForCausalLM"]), r"its weights lack .*q_proj\.bias"),
        (in_config(model_type="falcon"), "model_type is 'falcon'; it must be one of llama, mistral"),
        (in_config(surprise=1), "surprise is not allowed for llama"),
        (in_config(hidden_size=64), r"its weights lack .*embed_tokens"),
        (in_config(vocab_size=200), "cannot be brought in"),
        (in_tokenizer_config(auto_map=["evil", None]), r"tokenizer_config\.json names code"),
        (in_tokenizer_config(init_kwargs={"deep": [{"auto_map": "evil"}]}), r"tokenizer_config\.json names code"),
        (in_generation_config(custom_generate="evil/generate"), r"generation_config\.json names code.*custom_generate"),
        (in_generation_config(trust_remote_code=True), r"generation_config\.json names code.*trust_remote_code"),
        (in_tokenizer_config(eos_token=None), "no token for the end of a text"),
    ],
)
def test_a_model_that_cannot_be_trusted_or_used_is_refused_by_name(
    spoil: Callable[[Path], None], sentence: str, handed: Path, store: Store, tmp_path: Path
) -> None:
    spoil(handed)
    with pytest.raises(DataError, match=sentence):
        bring_in(handed, store, tmp_path)
    assert not list(store.manifests())


def test_a_gguf_file_that_is_none_is_refused(store: Store, tmp_path: Path) -> None:
    (tmp_path / "odd.gguf").write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(DataError, match=r"odd\.gguf cannot be brought in"):
        bring_in(tmp_path / "odd.gguf", store, tmp_path)


def test_what_is_neither_folder_nor_file_nor_name_is_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere is neither a folder nor a \.gguf file"):
        bring_in(tmp_path / "nowhere", store, tmp_path)


_ASK_THE_HUB = """
import sys
from pathlib import Path
from forge_pipelines.bases.hub import download
download("somebody/some-model", None, Path(sys.argv[1]))
"""


def test_a_hub_that_cannot_be_reached_is_named_with_the_way_round_it(tmp_path: Path) -> None:
    closed = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "1"}
    ended = subprocess.run(
        [sys.executable, "-c", _ASK_THE_HUB, str(tmp_path)], env=closed, capture_output=True, text=True, check=False
    )
    assert PlatformError.__name__ in ended.stderr
    assert "download it where there is a network, and name its folder" in ended.stderr.splitlines()[-1]


def test_a_base_that_was_never_brought_in_is_named_with_those_that_were(
    handed: Path, store: Store, tmp_path: Path
) -> None:
    bring_in(handed, store, tmp_path)
    with pytest.raises(
        DataError, match=r"no base is named falcon in .* \(there are: llama\); .*forge import-base falcon"
    ):
        latest_base("falcon", store)
    assert latest_base("llama", store).kind == KIND
