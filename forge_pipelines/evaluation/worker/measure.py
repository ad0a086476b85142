"""The measurement itself: what the checkpoint and its base give for the same texts and questions."""

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from forge_pipelines.evaluation.scoring import Findings, Items, Scores, ScoringJob
from forge_pipelines.evaluation.worker.answers import answer, write_prompts
from forge_pipelines.evaluation.worker.encoding import Encoded, encode
from forge_pipelines.evaluation.worker.networks import (
    build_untrained,
    choose_precision,
    context_tokens,
    load_network,
    load_tokenizer,
)
from forge_pipelines.evaluation.worker.windows import Window, batches, windows
from forge_pipelines.shards.tokenizer import read_document_tokens

_NOT_SCORED = -100
_LOGITS_A_BATCH = 1 << 24
"""Logits held at once: 64 MiB in fp32."""

Tell = Callable[[Mapping[str, Any]], None]


def measure(job: ScoringJob, tell: Tell) -> Scores:
    """Show the job's items to both networks, one in memory at a time.

    Raises:
        DataError: the checkpoint, its base or its tokenizer cannot be scored, or a question is too long for them.
    """
    items = Items.model_validate_json(job.items.read_bytes())
    tokenizer = load_tokenizer(job.checkpoint)
    special = read_document_tokens(job.checkpoint)
    documents = encode(tokenizer, special.begin, items.texts)
    prompts = write_prompts(tokenizer, special.begin, items.questions)
    context = context_tokens(job.checkpoint, tokenizer, job.max_context_tokens)
    precision = choose_precision([job.checkpoint, job.base], job.device) if job.base else "float32"

    def examine(network: PreTrainedModel, which: str) -> Findings:
        bits = score(network, documents, context, _teller(tell, f"{job.model}: scoring, {which}", "windows"))
        on_tokens = _teller(tell, f"{job.model}: answering, {which}", "tokens")
        answers = answer(network, tokenizer, special, prompts, job.answer_tokens, on_tokens)
        return Findings(bits=tuple(bits), answers=tuple(answers))

    adapted = "adapted" if job.base else "trained"
    findings = examine(load_network(job.checkpoint, job.device, precision), adapted)
    if job.base:
        base = examine(load_network(job.base, job.device, precision), "base")
    else:
        base = examine(build_untrained(job.checkpoint, job.untrained_seed, job.device), "untrained")
    tokens = tuple(len(document.scored) for document in documents)
    return Scores(context_tokens=context, precision=precision, tokens=tokens, checkpoint=findings, base=base)


def _teller(tell: Tell, stage: str, unit: str) -> Callable[[int, int], None]:
    return lambda done, total: tell({"stage": stage, "done": done, "total": total, "unit": unit})


@torch.inference_mode()
def score(
    network: PreTrainedModel, documents: Sequence[Encoded], context: int, on_windows: Callable[[int, int], None]
) -> list[float]:
    """Return the bits of each document: its scored tokens' negative log2-likelihoods, each given those before it.

    Args:
        network: on its device, ready to be scored.
        documents: token ids; each has more than one.
        context: positions that the network sees at once.
        on_windows: told how many windows are done, of how many.
    """
    every = [
        window
        for index, document in enumerate(documents)
        for window in windows(index, len(document.ids) - 1, context)
        if _scored_in(window, document)
    ]
    nats = [0.0] * len(documents)
    done = 0
    for batch in batches(every, _LOGITS_A_BATCH // network.config.vocab_size):
        for window, window_nats in zip(batch, _score_batch(network, documents, batch), strict=True):
            nats[window.document] += window_nats
        done += len(batch)
        on_windows(done, len(every))
    return [each / math.log(2) for each in nats]


def _score_batch(network: PreTrainedModel, documents: Sequence[Encoded], batch: list[Window]) -> list[float]:
    # Padding stands on the right, where causal attention keeps it from every scored position: no mask is needed.
    shape = (len(batch), batch[0].length)
    ids_BT = torch.zeros(shape, dtype=torch.long)  # noqa: N806 - the shape
    targets_BT = torch.full(shape, _NOT_SCORED)  # noqa: N806
    for row, window in enumerate(batch):
        document = documents[window.document]
        ids = torch.tensor(document.ids[window.start : window.stop + 1])
        ids_BT[row, : window.length] = ids[:-1]
        # The position before a token is what predicts it.
        scored = torch.tensor([place - 1 - window.start for place in _scored_in(window, document)], dtype=torch.long)
        targets_BT[row, scored] = ids[scored + 1]
    logits_BTV = network(input_ids=ids_BT.to(network.device), use_cache=False).logits  # noqa: N806
    return _nats(logits_BTV, targets_BT.to(network.device)).sum(dim=1).tolist()


def _scored_in(window: Window, document: Encoded) -> Sequence[int]:
    first, last = (bisect_left(document.scored, position + 1) for position in (window.scored_from, window.stop))
    return document.scored[first:last]


def _nats(logits_BTV: torch.Tensor, targets_BT: torch.Tensor) -> torch.Tensor:  # noqa: N803 - the shapes
    # In float32 whatever the weights are, and not all of a long window at once.
    rows = max(1, _LOGITS_A_BATCH // 4 // logits_BTV.shape[-1])
    parts = zip(logits_BTV.flatten(0, 1).split(rows), targets_BT.flatten().split(rows), strict=True)
    nats = [
        cross_entropy(logits.float(), targets, ignore_index=_NOT_SCORED, reduction="none") for logits, targets in parts
    ]
    return torch.cat(nats).view(targets_BT.shape).double()
