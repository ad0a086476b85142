"""`forge serve` and `forge chat` on a site with a registered model: what is served, what is refused, what is left."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from forge_assets.instance import forge_environment
from forge_assets.resources import forge_resources
from forge_assets.settings import exported, load_settings
from forge_pipelines.evaluation.report import BITS_PER_CHARACTER as METRIC
from forge_pipelines.manifest import Manifest
from forge_pipelines.registry.config import RegistrationConfig
from forge_pipelines.registry.stage import register
from forge_pipelines.registry.versions import point_alias
from forge_pipelines.store import Store

REGISTRY_TESTS = Path(__file__).parent.parent / "pipelines" / "registry"


class Site:
    """A FORGE_HOME with versions 1 (@candidate) and 2 of the model `clerk`; it has no base and no chat template."""

    def __init__(self, folder: Path, chain_kind: Any, weights: Path) -> None:
        self.home = folder / "home"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("FORGE_")}
        self.environment = {**inherited, "FORGE_HOME": str(self.home)}
        with exported({"FORGE_HOME": str(self.home)}):
            self.settings = load_settings()
        self.store: Store = forge_resources(self.settings)["forge_store"].open()
        chain = chain_kind(self.store, weights, "clerk")
        self.report: Manifest = chain.report()
        self.checkpoint: Manifest = chain.checkpoint
        self.register(self.report, alias="candidate")
        self.register(chain.report(value=2.2), alias="better")
        self._register_adapted(chain_kind, weights)

    def _register_adapted(self, chain_kind: Any, weights: Path) -> None:
        """Register the model `teller`, adapted from the base `small`, which has a chat template."""

        class Adapted(chain_kind):  # type: ignore[misc]
            def publish(self, name: str, kind: str, inputs: Any, *rest: Any) -> Any:
                return super().publish(
                    name, kind, {**inputs, **(adapted if kind == "trained_checkpoint" else {})}, *rest
                )

        def write(folder: Path) -> None:
            shutil.copytree(weights, folder, dirs_exist_ok=True)
            (folder / "chat_template.jinja").write_text("{% for m in messages %}{{ m.content }}{% endfor %}")

        adapted: dict[str, str] = {}
        chain = Adapted(self.store, weights, "teller")
        labels = {"labels": {"licence": "Apache-2.0", "classification": "public"}, "origin": "a test"}
        base = chain.publish("small", "base_model", {}, labels, write)
        adapted["base:small"] = base.fingerprint
        self.register(chain.report(), alias="champion")

    def register(self, report: Manifest, alias: str) -> None:
        """Register a report under its own model's name."""
        config = RegistrationConfig(gates=(f"{METRIC} < base",), alias=alias)
        with forge_environment(self.settings):
            register(report.name, report, config, self.store, self._tracking())

    def point(self, alias: str, version: int) -> None:
        with forge_environment(self.settings):
            point_alias(self._tracking(), "clerk", alias, version)

    def _tracking(self) -> Any:
        return forge_resources(self.settings)["forge_registry"].open()

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "forge_assets.cli", *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=self.environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True)

    def forge(self, *arguments: str, typed: str = "") -> tuple[int, str, str]:
        """Run a command; return its exit code and what it said."""
        process = self.start(*arguments)
        said, complained = process.communicate(typed, timeout=120)
        return process.returncode, said, complained


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(REGISTRY_TESTS)
        from registry_chain import Chain

        folder = tmp_path_factory.mktemp("serving")
        yield Site(folder, Chain, _weights(folder / "weights"))


def _weights(folder: Path) -> Path:
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    vocabulary = {token: index for index, token in enumerate(["<eos>", *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>").save_pretrained(folder)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=257, max_position_embeddings=128, eos_token_id=None, bos_token_id=None, **sizes)
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("serve", "unknown"), "no model is registered as unknown; there are clerk, teller"),
        (
            ("serve", "clerk@champion"),
            "the model clerk has no alias @champion; it has @better (version 2), @candidate ",
        ),
        (("serve", "Clerk/1"), "«Clerk/1» names no model; write MODEL or MODEL@ALIAS"),
        (("serve", "clerk", "--host", "0.0.0.0"), "keys do not exist yet: leave it at 127.0.0.1"),
        (("chat", "clerk", "--compare", "base"), "clerk version 1 was trained from nothing, so it has no base to"),
        (("chat", "clerk", "--compare", "other"), "write --compare base"),
    ],
)
def test_what_cannot_be_served_is_one_sentence(site: Site, arguments: tuple[str, ...], said: str) -> None:
    code, output, complaint = site.forge(*arguments)
    assert code == 1
    assert complaint.startswith("forge: ")
    assert complaint.count("\n") == 1
    assert said in complaint
    assert "http://" not in output


def test_a_flipped_byte_in_the_weights_is_refused(site: Site) -> None:
    weights = Path(site.store.address_of(site.checkpoint)) / "model.safetensors"
    sound = weights.read_bytes()
    try:
        weights.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
        code, _, complaint = site.forge("serve", "clerk", "--port", "0")
    finally:
        weights.write_bytes(sound)
    assert code == 1
    assert "clerk/trained_checkpoint" in complaint
    assert "model.safetensors does not match its SHA-256" in complaint


def test_one_question_is_answered_and_the_model_says_that_it_continues(site: Site) -> None:
    code, output, complaint = site.forge("chat", "clerk", "--prompt", "Once", "--max-tokens", "8")
    assert code == 0, complaint
    assert len(output) > 4
    assert "clerk:1 has no chat template: it continues each text" in complaint


def test_each_question_is_answered_by_the_model_and_by_its_base(site: Site) -> None:
    code, output, complaint = site.forge(
        "chat", "teller", "--compare", "base", "--max-tokens", "8", typed="Once\n\nAnd then?\n"
    )
    assert code == 0, complaint
    assert re.findall("(teller:1|small)> ", output) == ["teller:1", "small"] * 2
    assert "teller:1 has no chat template" in complaint
    assert "small has no" not in complaint


def test_the_endpoint_takes_a_new_champion_over_and_kill_9_leaves_nothing(site: Site) -> None:
    site.point("champion", 1)
    process = site.start("serve", "clerk", "--port", "0")
    try:
        assert process.stdout is not None
        lines = iter(process.stdout)
        served = next(line for line in lines if "is served at" in line)
        assert served.startswith("clerk:1 (@champion) is served at http://127.0.0.1:")
        address = served.split()[-1]
        body = {"model": "clerk@champion", "prompt": "Once", "max_tokens": 4}
        assert httpx.post(f"{address}/completions", json=body, timeout=60).json()["model"] == "clerk:1"
        site.point("champion", 2)
        next(line for line in lines if "clerk:2 is served now" in line)
        assert httpx.post(f"{address}/completions", json=body, timeout=60).json()["model"] == "clerk:2"
        engines = [child for child in psutil.Process(process.pid).children(recursive=True) if "-P" in child.cmdline()]
        assert engines
    finally:
        process.kill()
        process.communicate()
    _, alive = psutil.wait_procs(engines, timeout=15)
    assert alive == []
