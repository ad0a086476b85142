"""The embedded engine: `transformers serve`, as a child on loopback that has one model loaded.

It generates one answer at a time (transformers/cli/serving/utils.py, InferenceThread), and stops an answer when the
connection closes, but only a streamed one: so everything is streamed from it. It samples only where a generation
configuration says so, whatever the temperature: so each request carries a whole configuration.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import closing
from pathlib import Path
from socket import socket
from typing import Any

import httpx

from forge_pipelines import processes
from forge_pipelines.errors import PlatformError
from forge_pipelines.serving.engine import EngineLost, Generation, Piece
from forge_pipelines.serving.refusal import Refusal

_HOST = "127.0.0.1"
_START_SECONDS = 600
_SILENCE_SECONDS = 600  # a long prompt is read without a word
_COMMAND = "from transformers.cli.transformers import main; main()"


class TransformersEngine:
    """One `transformers serve`.

    Args:
        folder: the model's files.
        log: file that its output is appended to.
    """

    parallel = 1

    def __init__(self, folder: Path, log: Path) -> None:
        self._folder = folder
        self._log = log
        self._defaults = _generation_defaults(folder)
        self._address = f"http://{_HOST}:{_free_port()}"
        self._child: processes.Child | None = None

    async def start(self) -> None:
        """Load the model; return when it has generated a token.

        Raises:
            PlatformError: it does not; the message names the log.
        """
        # By this thread: the kernel ends a child when the thread that started it ends.
        self._child = self._start_child()
        deadline = time.monotonic() + _START_SECONDS
        while not await self._healthy():
            if (fault := self.fault()) is not None:
                raise PlatformError(f"the model's process does not start: {fault}")
            if time.monotonic() > deadline:
                raise PlatformError(f"the model's process is not ready after {_START_SECONDS} s; its log: {self._log}")
            await asyncio.sleep(0.1)
        try:
            async for _ in self.generate(Generation("a", max_tokens=1)):
                pass
        except Refusal as refusal:
            raise PlatformError(f"the model generates nothing: {refusal.message}; its log: {self._log}") from refusal

    async def generate(self, generation: Generation) -> AsyncGenerator[Piece, None]:
        """Yield text as it is made; closing the generator ends the work.

        Raises:
            EngineLost: the process ended, or says nothing for ten minutes.
            Refusal: it refuses.
        """
        is_chat = not isinstance(generation.prompt, str)
        path = "/v1/chat/completions" if is_chat else "/v1/completions"
        timeout = httpx.Timeout(30, read=_SILENCE_SECONDS)
        try:
            async with (
                httpx.AsyncClient(base_url=self._address, timeout=timeout, trust_env=False) as client,
                client.stream("POST", path, json=self._body(generation)) as answer,
            ):
                if answer.status_code != 200:
                    refusal = _refused((await answer.aread()).decode(errors="replace"))
                    raise refusal
                finished = False
                async for piece in _pieces(answer.aiter_lines()):
                    finished = finished or piece.finish_reason is not None
                    yield piece
        except httpx.ReadTimeout as error:
            assert self._child is not None
            self._child.terminate()
            raise EngineLost(f"said nothing for {_SILENCE_SECONDS} s and was ended") from error
        except httpx.TransportError as error:
            raise EngineLost(f"has ended ({type(error).__name__})") from error
        if not finished:
            raise EngineLost("broke off")

    def fault(self) -> str | None:
        """Return in a sentence how the process ended, and where its log is; None while it lives."""
        if self._child is None or self._child.poll() is None:
            return None
        code = self._child.returncode
        how = f"exit code {code}" if code >= 0 else f"signal {-code}"
        return f"it has ended ({how}), its log says why: {self._log}"

    def end(self) -> None:
        """End the process and all its descendants; returns when they are gone."""
        if self._child is not None:
            processes.end(self._child)

    def _start_child(self) -> processes.Child:
        port = self._address.rpartition(":")[2]
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            # Under this name, because «@» and «:» in a path name revisions and files there.
            serve = ("serve", f"/proc/self/fd/{descriptor}", "--host", _HOST, "--port", port)
            return processes.start(
                [sys.executable, "-P", "-c", _COMMAND, *serve],
                environment=processes.NOTHING_LEAVES,
                log=self._log,
                family=True,
                pass_descriptors=[descriptor],
            )
        finally:
            os.close(descriptor)

    async def _healthy(self) -> bool:
        async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
            try:
                return (await client.get(f"{self._address}/health")).status_code == 200
            except httpx.TransportError:
                return False

    def _body(self, generation: Generation) -> Mapping[str, Any]:
        configuration = {**self._defaults, **generation.sampling, "max_new_tokens": generation.max_tokens}
        prompt = generation.prompt
        return {
            **({"prompt": prompt} if isinstance(prompt, str) else {"messages": list(prompt)}),
            **({} if generation.seed is None else {"seed": generation.seed}),
            "generation_config": json.dumps(configuration),
            "stream": True,
        }


async def _pieces(lines: AsyncIterator[str]) -> AsyncIterator[Piece]:
    """Read server-sent events of either kind."""
    async for line in lines:
        if not line.startswith("data:"):
            continue
        said = line.removeprefix("data:").strip()
        if said.startswith('{"error"'):  # a message with quotes in it is no JSON
            refusal = _refused(said)
            raise refusal
        event = json.loads(said)
        choice, usage = event["choices"][0], event.get("usage") or {}
        text = choice["delta"].get("content") if "delta" in choice else choice["text"]
        counts = {name: usage.get(name, 0) for name in ("prompt_tokens", "completion_tokens")}
        yield Piece(text or "", choice.get("finish_reason"), **counts)


def _refused(said: str) -> Refusal:
    return Refusal(500, f"the model's process could not answer: {said[:500]}", code="engine_error")


def _generation_defaults(folder: Path) -> Mapping[str, Any]:
    """Return what the model's own files say of generating: where answers end, above all."""
    config = json.loads((folder / "config.json").read_text())
    named = {
        key: config[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id") if config.get(key) is not None
    }
    path = folder / "generation_config.json"
    own = json.loads(path.read_text()) if path.exists() else {}
    kept = {key: value for key, value in own.items() if not key.startswith("_") and key != "transformers_version"}
    return {**named, **{key: value for key, value in kept.items() if not key.startswith("max_") and value is not None}}


def _free_port() -> int:
    with closing(socket()) as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])
