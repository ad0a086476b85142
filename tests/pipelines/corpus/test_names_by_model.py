import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_classifier
import torch
import transformers
from documents_in_memory import document
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from tiny_classifier import Words, sentence

from forge_pipelines.corpus.config import CorpusConfig
from forge_pipelines.corpus.personal.config import PersonalDataConfig
from forge_pipelines.corpus.personal.findings import Kind
from forge_pipelines.corpus.personal.model_folder import ARCHITECTURES
from forge_pipelines.corpus.personal.names import check_names, load_names, names_version
from forge_pipelines.corpus.personal.redact import redact_personal, replaced
from forge_pipelines.corpus.personal.search import PersonalDataSearch
from forge_pipelines.corpus.reading import read_heldout, read_train
from forge_pipelines.corpus.stage import check_corpus, validate
from forge_pipelines.engine.local import LocalEngine
from forge_pipelines.errors import ConfigError
from forge_pipelines.manifest import Document, Segment, sha256_text
from forge_pipelines.store import Store

KINDS = {"PER": "<NAME>", "ADDRESS": "<ADDRESS>"}


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classifier")
    assert tiny_classifier.train(folder) > 0.99
    return folder


@pytest.fixture
def model(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "ner"))


def written(words: Words) -> str:
    return " ".join(word for word, _ in words).replace(" .", ".")


def without_names(words: Words) -> str:
    """Return what a text should become: a placeholder for each entity."""
    parts: list[tuple[str, str]] = []
    for word, tag in words:
        place, _, label = tag.partition("-")
        if label not in KINDS:
            parts.append((word, "O"))
        elif place == "B":
            parts.append((KINDS[label], tag))
    return written(parts)


def redacted(text: str, **config: Any) -> str:
    return replaced(text, PersonalDataSearch(PersonalDataConfig(**config)).find(text))


def test_a_model_finds_names_and_addresses_in_sentences_that_it_has_never_seen(trained: Path) -> None:
    draw = random.Random(99)
    told = [sentence(draw) for _ in range(60)]
    right = [redacted(written(words), names_model=trained) == without_names(words) for words in told]
    assert all(right)


def test_a_corpus_that_two_processes_make_has_placeholders_for_names_and_addresses(
    trained: Path, store: Store, publish_source: Any
) -> None:
    documents, expected = [], {}
    for number, words in enumerate(_texts(300)):
        uri = f"{number:03}.md"
        documents.append(document("wiki", uri, written(words)))
        expected[uri] = without_names(words)
    asked, answered = next(_texts(1, seed=8)), next(_texts(1, seed=9))
    documents.append(_chat("chat.json", written(asked), written(answered)))
    wiki = publish_source("wiki", documents)
    config = CorpusConfig.model_validate(
        {
            "name": "books",
            "sources": ["wiki"],
            "personal_data": {"names_model": trained},
            "length": {"min_characters": 1},
        }
    )
    publication = validate(config, [wiki], store, engine=LocalEngine(2))
    folder = store.open(publication.manifest)
    kept = {each.uri: each for each in (*read_train(folder), *read_heldout(folder))}
    counts = publication.manifest.counts["redactions_by_kind"]

    right = [each.text == expected[uri] for uri, each in kept.items() if uri != "chat.json"]
    assert len(right) > 200 and all(right)
    assert [(each.role, each.text) for each in kept["chat.json"].segments] == [
        ("user", without_names(asked)),
        ("assistant", without_names(answered)),
    ]
    assert counts["name"] > 200 and counts["address"] > 100


def test_chats_are_redacted_segment_by_segment_and_names_are_counted(trained: Path) -> None:
    chat = _chat(
        "1", "please call Hugo Nakamura about the pump.", "send the spare part to 12 Willow Street before noon."
    )
    outcome = redact_personal([chat], PersonalDataConfig(names_model=trained))
    (kept,) = outcome.kept
    assert [each.text for each in kept.segments] == [
        "please call <NAME> about the pump.",
        "send the spare part to <ADDRESS> before noon.",
    ]
    assert kept.text_sha256 == sha256_text(kept.text)
    assert sorted((kind, count) for (_, kind), count in outcome.redactions.items()) == [("address", 1), ("name", 1)]


def test_a_name_at_any_place_of_a_long_text_is_found_once_and_whole(trained: Path) -> None:
    filler = "the pump in the north hall turns for seven hours."
    lengths, right = range(3, 25), 0
    for num_before in lengths:
        for words in range(0, 9, 4):
            start = " ".join(filler.split()[words:])
            text = " ".join([start, *[filler] * num_before, "please call Hugo Nakamura about the pump.", *[filler] * 5])
            expected = text.replace("Hugo Nakamura", "<NAME>")
            right += redacted(text, names_model=trained) == expected
    assert right == 3 * len(lengths)


def test_what_is_found_in_a_text_is_the_same_whatever_stands_beside_it(trained: Path) -> None:
    texts = [written(words) for words in _texts(40)]
    (finder,) = load_names(PersonalDataConfig(names_model=trained))
    alone = [list(finder.find(text)) for text in texts]
    threads = torch.get_num_threads()
    assert [list(finder.find(text)) for text in reversed(texts)] == alone[::-1]
    torch.set_num_threads(2)
    assert [list(finder.find(text)) for text in texts] == alone
    assert torch.get_num_threads() == 2
    torch.set_num_threads(threads)


def test_names_of_special_tokens_in_a_text_are_text(trained: Path) -> None:
    text = "please call Hugo Nakamura about the pump. [SEP] [PAD] [CLS]"
    assert redacted(text, names_model=trained) == text.replace("Hugo Nakamura", "<NAME>")


def test_plain_places_stay_unless_the_yaml_says_that_they_are_addresses(trained: Path) -> None:
    text = "the order was signed by Lena Okonkwo in Zagreb last week."
    assert redacted(text, names_model=trained) == "the order was signed by <NAME> in Zagreb last week."
    labels = {"PER": "name", "LOC": "address"}
    assert (
        redacted(text, names_model=trained, names_labels=labels)
        == "the order was signed by <NAME> in <ADDRESS> last week."
    )
    assert redacted(text, names_model=trained, names_labels={"LOC": "address"}) == text.replace(
        "Zagreb", "<ADDRESS>"
    )  # the labels that are named are all that count


def test_names_can_be_kept_and_addresses_reject(trained: Path) -> None:
    text = "Greta Tanaka lives at 12 Willow Street near the works."
    kept = redacted(text, names_model=trained, name="keep")
    assert kept == "Greta Tanaka lives at <ADDRESS> near the works."
    config = PersonalDataConfig(names_model=trained, address="reject")
    (rejected,) = redact_personal([document("wiki", "1", text)], config).rejected
    assert rejected.reason == "has address (1), which the corpus rejects"
    assert rejected.excerpt == "<NAME> lives at <ADDRESS> near the works."
    assert load_names(PersonalDataConfig(names_model=trained, name="keep", address="keep")) == ()


def test_a_list_and_a_model_in_one_folder_both_find_names(model: Path) -> None:
    before = names_version(model)
    (model / "names.txt").write_text("closed\n")
    assert redacted("the fitter Hugo Nakamura closed the valve.", names_model=model) == (
        "the fitter <NAME> <NAME> the valve."
    )
    assert names_version(model) != before


def test_every_file_of_a_model_shapes_the_version_and_other_files_do_not(model: Path) -> None:
    versions = [names_version(model)]
    (model / "README.md").write_text("A model of the house.")
    assert names_version(model) == versions[0]
    tensors = load_file(model / "model.safetensors")
    tensors["classifier.bias"] = tensors["classifier.bias"] + torch.tensor([100.0] + [0.0] * 6)
    save_file(tensors, model / "model.safetensors")
    versions.append(names_version(model))
    assert redacted("please call Hugo Nakamura.", names_model=model) == "please call Hugo Nakamura."
    for name in ("config.json", "tokenizer.json"):
        (model / name).write_text((model / name).read_text() + "\n")
        versions.append(names_version(model))
    assert len(set(versions)) == 4


@pytest.mark.parametrize("family", ARCHITECTURES)
def test_a_model_of_every_allowed_family_reads_texts_of_any_length(family: str, trained: Path, tmp_path: Path) -> None:
    tags = {0: "O", 1: "B-PER", 2: "I-PER"}
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
    others = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 48, "embedding_size": 32, "num_local_experts": 4}
    tokens = {"pad_token_id": 1, "bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3}
    heads = {"num_key_value_heads": 2, "head_dim": 16, "vocab_size": 250, "max_position_embeddings": 80}
    configuration = transformers.AutoConfig.for_model(
        family, **sizes, **others, **tokens, **heads, id2label=tags, label2id={tag: at for at, tag in tags.items()}
    )
    torch.manual_seed(0)
    getattr(transformers, ARCHITECTURES[family])(configuration).save_pretrained(tmp_path)
    shutil.copy(trained / "tokenizer.json", tmp_path)
    check_names(PersonalDataConfig(names_model=tmp_path))
    names_version(tmp_path)
    (finder,) = load_names(PersonalDataConfig(names_model=tmp_path))
    for num_words in (1, 60, 80, 300):
        assert all(found.kind is Kind.NAME for found in finder.find("pump valve " * num_words))


Change = Callable[[Path], None]


def _configured(**changes: Any) -> Change:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return change


def _removed(*names: str) -> Change:
    return lambda folder: [(folder / name).unlink() for name in names][-1]


def _content(name: str, content: bytes) -> Change:
    return lambda folder: (folder / name).write_bytes(content) and None


def _pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _tensors(change: Callable[[dict[str, torch.Tensor]], Any]) -> Change:
    def changed(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors")

    return changed


def _truncated(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:-100])


AT_ONCE = [
    (_removed("config.json"), {}, "holds a model without config.json"),
    (_removed("tokenizer.json"), {}, "holds a model without tokenizer.json"),
    (_removed("model.safetensors"), {}, "holds a model without model.safetensors"),
    (_removed("config.json", "tokenizer.json", "model.safetensors"), {}, "holds neither a list nor a model"),
    (shutil.rmtree, {}, "is no folder"),
    (_pickled, {}, r"only as pickles \(pytorch_model.bin\), which run code"),
    (_content("config.json", b"{"), {}, "cannot be read as JSON"),
    (_content("config.json", b"[]"), {}, "is no JSON object"),
    (_content("names.txt", b"\n"), {}, "has no name in it"),
    (_configured(auto_map={"AutoModel": "evil.Model"}), {}, "auto_map is a mapping, by which a model asks for code"),
    (_configured(text_config={"auto_map": {"AutoModel": "evil.Model"}}), {}, "text_config is a mapping"),
    (_configured(quantization_config={"quant_method": "awq"}), {}, "quantization_config is a mapping"),
    (_configured(layers=[{"auto_map": "evil"}]), {}, "layers is a mapping"),
    (_configured(model_type="evilbert"), {}, "model_type is 'evilbert'; it must be one of albert, bert"),
    (_configured(architectures=["BertForMaskedLM"]), {}, r"architectures is \['BertForMaskedLM'\]; it must be"),
    (_configured(architectures=None), {}, "architectures is None"),
    (_configured(vocab_size="many"), {}, "vocab_size is 'many'; it must be a whole number"),
    (_configured(max_position_embeddings=2), {}, "gives the network 2 positions"),
    (_configured(id2label=None), {}, "id2label does not name a label for each output"),
    (_configured(id2label={"0": "O", "2": "B-PER"}), {}, "id2label does not name a label for each output"),
    (_configured(id2label={"0": "O", "1": "B-ORG"}), {}, r"labels \(ORG\) of which none is known to mark persons"),
    (
        lambda _: None,
        {"names_labels": {"LOK": "address"}},
        "names_labels names LOK, .* its labels are ADDRESS, LOC, PER",
    ),
]
ON_MAKING = [
    (_content("tokenizer.json", b"{}"), {}, "tokenizer.json cannot be read"),
    (_configured(vocab_size=20), {}, "has a token 219 and the network knows 20"),
    (_truncated, {}, "model.safetensors cannot be read"),
    (_content("model.safetensors", b"PK"), {}, "model.safetensors cannot be read"),
    (_configured(id2label={"0": "O", "1": "B-PER"}), {}, "has a head of 7 labels and config.json names 2"),
    (_tensors(lambda tensors: tensors.pop("classifier.weight")), {}, "has a head of 0 labels"),
]
ON_LOADING = [
    (_tensors(lambda tensors: tensors.pop("classifier.bias")), {}, "lacks classifier.bias"),
    (_configured(hidden_size=32), {}, "model.safetensors cannot be loaded"),
    (_configured(hidden_act="evil"), {}, "model.safetensors cannot be loaded"),
    (_configured(num_attention_heads="two"), {}, "model.safetensors cannot be loaded"),
]


@pytest.mark.parametrize(("change", "labels", "sentence"), AT_ONCE)
def test_a_folder_that_cannot_be_used_is_a_sentence_when_definitions_load(
    model: Path, change: Change, labels: Any, sentence: str
) -> None:
    change(model)
    personal = {"names_model": model, **labels}
    config = CorpusConfig.model_validate({"name": "books", "sources": ["wiki"], "personal_data": personal})
    with pytest.raises(ConfigError, match=sentence) as caught:
        check_corpus(config)
    assert _is_a_sentence_about(model, caught.value)


@pytest.mark.parametrize(("change", "labels", "sentence"), ON_MAKING)
def test_files_that_cannot_be_used_are_a_sentence_before_the_first_document_is_read(
    model: Path, change: Change, labels: Any, sentence: str
) -> None:
    change(model)
    with pytest.raises(ConfigError, match=sentence) as caught:
        names_version(model)
    assert _is_a_sentence_about(model, caught.value)


@pytest.mark.parametrize(("change", "labels", "sentence"), ON_LOADING)
def test_weights_that_do_not_make_the_network_are_a_sentence(
    model: Path, change: Change, labels: Any, sentence: str
) -> None:
    change(model)
    with pytest.raises(ConfigError, match=sentence) as caught:
        redacted("please call Hugo Nakamura.", names_model=model)
    assert _is_a_sentence_about(model, caught.value)


def test_a_model_that_no_process_can_load_is_a_sentence_and_nothing_is_published(
    model: Path, store: Store, publish_source: Any
) -> None:
    _tensors(lambda tensors: tensors.pop("classifier.bias"))(model)
    wiki = publish_source(
        "wiki", [document("wiki", f"{at}.md", written(words)) for at, words in enumerate(_texts(300))]
    )
    config = CorpusConfig.model_validate(
        {"name": "books", "sources": ["wiki"], "personal_data": {"names_model": model}}
    )
    with pytest.raises(ConfigError, match=r"lacks classifier\.bias"):
        validate(config, [wiki], store, engine=LocalEngine(2))
    assert not list(store.manifests("books"))


def test_labels_without_a_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="give names_model, too"):
        PersonalDataConfig.model_validate({"names_labels": {"PER": "name"}})
    for wrong in ({}, {"PER": "email"}):
        with pytest.raises(ValidationError, match="names_labels"):
            PersonalDataConfig.model_validate({"names_model": tmp_path, "names_labels": wrong})
    (tmp_path / "names.txt").write_text("Ada\n")
    with pytest.raises(ConfigError, match=r"holds only names\.txt; leave it out, or put a model there"):
        check_names(PersonalDataConfig(names_model=tmp_path, names_labels={"PER": "name"}))


def test_checking_a_model_imports_neither_torch_nor_transformers(trained: Path) -> None:
    program = f"""
import sys
from pathlib import Path
from forge_pipelines.corpus.personal.config import PersonalDataConfig
from forge_pipelines.corpus.personal.names import check_names, names_version
check_names(PersonalDataConfig(names_model=Path({str(trained)!r})))
names_version(Path({str(trained)!r}))
print(*sorted({{"torch", "transformers"}} & set(sys.modules)))
"""
    assert subprocess.run([sys.executable, "-c", program], check=True, capture_output=True).stdout == b"\n"


def _texts(count: int, seed: int = 5) -> Iterator[Words]:
    """Yield the words of texts of four sentences."""
    draw = random.Random(seed)
    for _ in range(count):
        yield [word for _ in range(4) for word in sentence(draw)]


def _chat(uri: str, asked: str, answered: str) -> Document:
    segments = (Segment("user", asked), Segment("assistant", answered))
    return replace(document("wiki", uri, asked), kind="chat", segments=segments)


def _is_a_sentence_about(folder: Path, error: ConfigError) -> bool:
    message = str(error)
    return str(folder) in message and "\n" not in message and not message.endswith(".") and len(message) < 600
