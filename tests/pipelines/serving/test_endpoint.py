"""The endpoint as an application sees it, through the official client: answers, refusals, and what is not reachable."""

import json
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from serving_client import Endpoint

HELLO: Any = [{"role": "user", "content": "Hello"}]


def wait_until(endpoint: Endpoint, holds: Callable[[Any], bool], seconds: float = 2) -> bool:
    """Ask for the health until something holds of it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if holds(httpx.get(f"{endpoint.url}/health").json()):
            return True
        time.sleep(0.02)
    return False


def nothing_runs(health: Any) -> bool:
    return bool(health["running"] == health["waiting"] == 0)


def test_a_chat_is_answered_and_names_the_version_that_answered(endpoint: Endpoint) -> None:
    for name in ("tiny", "tiny@champion", "tiny:1"):
        answer = endpoint.client().chat.completions.create(model=name, messages=HELLO, max_tokens=6, temperature=0)
        assert answer.model == "tiny:1"
        assert answer.choices[0].message.role == "assistant"
        assert answer.choices[0].finish_reason == "length"
        assert answer.usage is not None
        assert answer.usage.completion_tokens == 6
        assert answer.usage.prompt_tokens == len("user: Hello\nassistant: ")


def test_a_path_may_hold_what_names_revisions_and_files_to_the_engine(endpoint: Endpoint) -> None:
    assert endpoint.root.name == "hall@works:8"
    assert endpoint.client().completions.create(model="tiny", prompt="Once", max_tokens=1).model == "tiny:1"


def test_a_stream_says_the_same_as_the_whole_answer_and_counts_its_tokens(endpoint: Endpoint) -> None:
    client = endpoint.client()
    asked: Any = {"model": "tiny", "messages": HELLO, "max_tokens": 40, "temperature": 0}
    whole = client.chat.completions.create(**asked).choices[0].message.content
    chunks = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == whole
    assert {chunk.model for chunk in chunks} == {"tiny:1"}
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "length"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 40
    assert len(chunks) > 10


def test_a_text_is_continued_alike_with_the_same_seed_and_otherwise_with_another(endpoint: Endpoint) -> None:
    def continued(**how: Any) -> str:
        answer = endpoint.client().completions.create(model="tiny", prompt="Once", max_tokens=24, **how)
        assert answer.model == "tiny:1"
        return answer.choices[0].text

    assert continued(temperature=1, seed=1) == continued(temperature=1, seed=1)
    assert len({continued(temperature=1, seed=seed) for seed in range(4)}) > 1
    assert continued(temperature=0) == continued(temperature=0, seed=5) == continued()


def test_an_answer_ends_before_a_stop_text_streamed_or_not(endpoint: Endpoint) -> None:
    client = endpoint.client()
    asked: Any = {"model": "tiny", "prompt": "Once", "max_tokens": 60, "temperature": 0}
    whole = client.completions.create(**asked).choices[0].text
    stop = whole[12:15]
    expected = whole[: whole.index(stop)]
    stopped = client.completions.create(**asked, stop=stop)
    assert (stopped.choices[0].text, stopped.choices[0].finish_reason) == (expected, "stop")
    streamed = list(client.completions.create(**asked, stop=["never", stop], stream=True))
    assert "".join(chunk.choices[0].text for chunk in streamed) == expected


def test_three_clients_at_once_are_each_answered(endpoint: Endpoint) -> None:
    def ask(number: int) -> str:
        answer = endpoint.client().chat.completions.create(
            model="tiny", messages=HELLO, max_tokens=50, stream=number % 2 == 0, temperature=0
        )
        if number % 2 == 0:
            return "".join(chunk.choices[0].delta.content or "" for chunk in answer)  # type: ignore[attr-defined]
        return str(answer.choices[0].message.content)

    with ThreadPoolExecutor(3) as clients:
        answers = list(clients.map(ask, range(3)))
    assert len(set(answers)) == 1
    assert len(answers[0]) > 10


def test_100_requests_at_once_are_each_served_or_refused_with_a_time_to_come_back(endpoint: Endpoint) -> None:
    def ask(_: int) -> int:
        try:
            endpoint.client().chat.completions.create(model="tiny", messages=HELLO, max_tokens=30)
        except openai.RateLimitError as error:
            assert int(error.response.headers["retry-after"]) > 0
            return 429
        return 200

    started = time.monotonic()
    with ThreadPoolExecutor(100) as clients:
        counts = Counter(clients.map(ask, range(100)))
    assert counts[200] >= 9
    assert counts[429] >= 1
    assert counts.total() == 100
    assert time.monotonic() - started < 45
    assert wait_until(endpoint, nothing_runs, seconds=5)


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_away_frees_its_place(endpoint: Endpoint, stream: bool) -> None:
    clients = [endpoint.sent({"prompt": "Once", "max_tokens": 240, "stream": stream}) for _ in range(4)]
    assert wait_until(endpoint, lambda health: (health["running"], health["waiting"]) == (1, 3))
    if stream:
        assert clients[0].recv(100).startswith(b"HTTP/1.1 200")  # its answer has begun
    for client in clients:
        client.close()
    assert wait_until(endpoint, nothing_runs)
    started = time.monotonic()
    endpoint.client().completions.create(model="tiny", prompt="Once", max_tokens=1)
    took = time.monotonic() - started
    started = time.monotonic()
    endpoint.client().completions.create(model="tiny", prompt="Once", max_tokens=240)
    assert took < (time.monotonic() - started) / 2, "the engine went on with what nobody waits for"


def test_a_client_that_does_not_read_does_not_hold_the_place(endpoint: Endpoint) -> None:
    client = endpoint.sent({"prompt": "Once", "max_tokens": 480, "stream": True}, receive_bytes=1024)
    assert wait_until(endpoint, lambda health: health["running"] == 1)
    assert wait_until(endpoint, nothing_runs, seconds=30)
    client.close()


@pytest.mark.parametrize("name", ["gpt-4", "tiny:2", "tiny@candidate", "../v2", ""])
def test_no_other_model_can_be_named(endpoint: Endpoint, name: str) -> None:
    with pytest.raises(openai.NotFoundError, match="serves tiny:1 alone") as refused:
        endpoint.client().completions.create(model=name, prompt="Once")
    assert refused.value.code == "model_not_found"
    assert [model.id for model in endpoint.client().models.list()] == ["tiny:1"]


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("chat/completions", b"{", "the body is no JSON: EOF while parsing an object at line 1 column 1"),
        ("chat/completions", b"\xff\xfe", "the body is no JSON"),
        ("chat/completions", b"[]", "should be an object"),
        ("chat/completions", b'{"model": "tiny"}', "the field messages is missing"),
        ("chat/completions", b'{"model": "tiny", "messages": []}', "at least 1 item"),
        ("completions", b'{"model": "tiny"}', "the field prompt is missing"),
        ("completions", b'{"model": "tiny", "prompt": ""}', "the prompt is empty"),
        ("completions", b'{"model": "tiny", "prompt": "a", "n": 2}', "the field n cannot be taken: input should be 1"),
        ("completions", b'{"model": "tiny", "prompt": "a", "max_tokens": 0}', "greater than or equal to 1"),
        ("completions", b'{"model": "tiny", "prompt": "a", "temperature": -1}', "greater than or equal to 0"),
        ("completions", b'{"model": "tiny", "prompt": "a", "generation_config": "{}"}', "is not known here"),
    ],
)
def test_a_request_that_cannot_be_taken_is_one_sentence(endpoint: Endpoint, path: str, body: bytes, said: str) -> None:
    headers = {"Content-Type": "application/json"}
    answer = httpx.post(f"{endpoint.url}/v1/{path}", content=body, headers=headers)
    error = answer.json()["error"]
    assert answer.status_code == 400
    assert said in error["message"]
    assert error["type"] == "invalid_request_error"


def test_a_prompt_longer_than_the_window_is_refused_with_both_numbers(endpoint: Endpoint) -> None:
    with pytest.raises(openai.BadRequestError, match="the prompt has 600 tokens, and this model's window is 512") as no:
        endpoint.client().completions.create(model="tiny", prompt="x" * 600)
    assert no.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError, match="window is 512"):
        endpoint.client().chat.completions.create(model="tiny", messages=[{"role": "user", "content": "x" * 500}])
    with pytest.raises(openai.APIStatusError, match="longer than"):
        endpoint.client().completions.create(model="tiny", prompt="x" * 5_000_000)
    fits = endpoint.client().completions.create(model="tiny", prompt="x" * 500, max_tokens=100)
    assert fits.usage is not None
    assert fits.usage.total_tokens == 512


@pytest.mark.parametrize("path", ["/load_model", "/reset", "/v1/responses", "/v1/audio/transcriptions", "/docs", "/"])
def test_nothing_else_of_the_engine_is_reachable(endpoint: Endpoint, path: str) -> None:
    for method in ("GET", "POST"):
        answer = httpx.request(method, endpoint.url + path, json={"model": "tiny"})
        assert answer.status_code == 404
        assert "is not answered here" in answer.json()["error"]["message"]


def test_a_web_page_cannot_reach_it(endpoint: Endpoint) -> None:
    rebound = httpx.get(f"{endpoint.url}/v1/models", headers={"Host": "evil.example"})
    assert rebound.status_code == 400
    unasked = httpx.post(
        f"{endpoint.url}/v1/completions",
        content=json.dumps({"model": "tiny", "prompt": "Once"}),
        headers={"Content-Type": "text/plain"},
    )
    assert unasked.status_code == 415


def test_health_says_what_is_served(endpoint: Endpoint) -> None:
    health = httpx.get(f"{endpoint.url}/health").json()
    assert health == {"status": "ok", "model": "tiny:1", "alias": "champion", "running": 0, "waiting": 0}


def test_the_engine_sees_the_verified_files_and_no_other(endpoint: Endpoint) -> None:
    engine, published = endpoint.engine(), endpoint.root / "v1"
    seen = Path(f"/proc/{engine.pid}/fd") / Path(engine.cmdline()[5]).name
    assert {path.resolve() for path in seen.iterdir()} == {path.resolve() for path in published.iterdir()}
    (published / "adapter_config.json").write_text("{}")
    assert not (seen / "adapter_config.json").exists()
