"""A corpus of general text that is read along with the others: so much of it as was said, and no more."""

from fractions import Fraction

import numpy as np
import pytest
from pydantic import ValidationError
from shard_corpora import CHATML, base, chat, corpus, document

from forge_pipelines.errors import DataError
from forge_pipelines.shards.config import ShardsConfig
from forge_pipelines.shards.order import sequences_of
from forge_pipelines.shards.reading import open_shards
from forge_pipelines.shards.stage import shard
from forge_pipelines.store import Store


def config(
    share: float = 0.05, weights: tuple[int, ...] = (1,), replayed: str = "wiki", length: int = 64
) -> ShardsConfig:
    corpora = [{"corpus": f"own{number}", "weight": weight} for number, weight in enumerate(weights)]
    replay = {"corpus": replayed, "share": share}
    return ShardsConfig.model_validate(
        {"corpora": corpora, "replay": replay, "sequence_length": length, "tokenizer": {"vocabulary_size": 300}}
    )


@pytest.mark.parametrize("weights", [(1,), (3, 2), (7, 7, 7), (1000, 1)])
@pytest.mark.parametrize("share", [0.001, 0.05, 0.1, 0.125, 0.3, 1 / 3, 0.5])
def test_the_share_is_of_all_samples_whatever_the_others_weigh(share: float, weights: tuple[int, ...]) -> None:
    shares = config(share, weights).shares
    total = sum(each.weight for each in shares)
    assert [each.corpus for each in shares] == [*(f"own{number}" for number in range(len(weights))), "wiki"]
    assert abs(Fraction(shares[-1].weight, total) - Fraction(share)) < Fraction(1, 10**6)
    own = [Fraction(each.weight, total - shares[-1].weight) for each in shares[:-1]]
    assert own == [Fraction(weight, sum(weights)) for weight in weights]


def test_without_replay_the_weights_are_as_they_were_said() -> None:
    plain = ShardsConfig.model_validate({"corpora": [{"corpus": "a", "weight": 4}, {"corpus": "b", "weight": 2}]})
    assert [each.weight for each in plain.shares] == [4, 2]


def test_in_every_prefix_of_the_order_the_share_of_samples_is_replayed(store: Store) -> None:
    corpora = {
        name: corpus(store, name, [document(name, f"{name} {number} " * 40) for number in range(40)], (name,))
        for name in ("own0", "own1", "wiki")
    }
    manifest = shard("m", corpora, config(0.2, (1, 3)), store).manifest
    assert manifest.inputs["corpus:wiki"] == corpora["wiki"].fingerprint
    assert set(manifest.counts["trainable_tokens_by_source"]) == {"own0", "own1", "wiki"}
    shards = open_shards(store.open(manifest))
    rows = sequences_of(shards.order(seed=5), np.arange(1000))
    replayed = np.cumsum(rows >= shards.corpora[-1].first_sequence)
    assert shards.corpora[-1].corpus == "wiki"
    assert np.abs(replayed - 0.2 * np.arange(1, 1001)).max() <= 1
    assert shard("m", corpora, config(0.3, (1, 3)), store).manifest.key != manifest.key


def test_where_chats_are_learned_the_replayed_corpus_holds_chats_too(store: Store) -> None:
    own = corpus(store, "own0", [chat("desk", f"{number}?", "Yes.") for number in range(20)], ("desk",))
    general = [chat("web", f"{number}?", "No.") for number in range(20)]
    talk, text = corpus(store, "wiki", general, ("web",)), corpus(store, "wiki", [document("web", "A.")], ("web",))
    model = base(store, CHATML)
    made = shard("m", {"own0": own, "wiki": talk}, config(length=128), store, base=model, examples="chats").manifest
    assert made.counts["documents"] == 40
    with pytest.raises(DataError, match=r"^corpus wiki gives m no trainable token: 1 document was rejected by no_chat"):
        shard("m", {"own0": own, "wiki": text}, config(length=128), store, base=model, examples="chats")


@pytest.mark.parametrize("share", [0, 0.51, -0.1])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(ValidationError, match=r"replay\.share"):
        config(share)


def test_a_corpus_that_is_read_anyway_is_not_replayed() -> None:
    with pytest.raises(ValidationError, match="replay names own0, which stands among the corpora; give it a weight"):
        config(replayed="own0")
