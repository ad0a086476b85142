"""A token classifier that a test trains in seconds: a tiny BERT with a tokenizer of its own, on made-up sentences."""

import random
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertForTokenClassification, PreTrainedTokenizerFast

POSITIONS = 64
TAGS = ("O", "B-PER", "I-PER", "B-ADDRESS", "I-ADDRESS", "B-LOC", "I-LOC")
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
_GIVEN = "Anna Boris Clara Dmitri Elena Farid Greta Hugo Ines Jakob Karla Lena".split()  # noqa: SIM905
_FAMILY = "Montgomery Nakamura Okonkwo Petrovic Quintana Rossini Santorini Tanaka".split()  # noqa: SIM905
_STREETS = "Valley Willow Union Victoria Windmill".split()  # noqa: SIM905
_PLACES = "York Zagreb Yaounde Xanten".split()  # noqa: SIM905
_FRAMES = (
    "the fitter PERSON closed the valve",
    "please call PERSON about the pump",
    "PERSON lives at ADDRESS near the works",
    "send the spare part to ADDRESS before noon",
    "the order was signed by PERSON in PLACE last week",
    "the pump in the north hall turns for seven hours",
    "oil the shaft and check the gauge every morning",
    "the seal of the motor comes from PLACE",
)
Words = list[tuple[str, str]]


def sentence(draw: random.Random) -> Words:
    """Return words and the tag of each, from one of the frames."""
    words: Words = []
    for word in draw.choice(_FRAMES).split():
        if word == "PERSON":
            words += [(draw.choice(_GIVEN), "B-PER"), (draw.choice(_FAMILY), "I-PER")]
        elif word == "ADDRESS":
            address = [str(draw.randint(1, 99)), draw.choice(_STREETS), "Street"]
            words += zip(address, ("B-ADDRESS", "I-ADDRESS", "I-ADDRESS"), strict=True)
        elif word == "PLACE":
            words.append((draw.choice(_PLACES), "B-LOC"))
        else:
            words.append((word, "O"))
    return [*words, (".", "O")]


def train(folder: Path, steps: int = 100) -> float:
    """Train a classifier, save it into a folder, and return the share of held-out words whose tag it says rightly."""
    draw = random.Random(3)
    tokenizer = _tokenizer([sentence(draw) for _ in range(400)])
    torch.manual_seed(3)
    torch.set_num_threads(1)
    network = BertForTokenClassification(
        BertConfig(
            vocab_size=tokenizer.get_vocab_size(),
            hidden_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=128,
            max_position_embeddings=POSITIONS,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            id2label=dict(enumerate(TAGS)),
            label2id={tag: number for number, tag in enumerate(TAGS)},
        )
    )
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.02, total_iters=steps)
    for _ in range(steps):
        ids, tags = _batch(draw, tokenizer, 16)
        network(input_ids=ids, labels=tags).loss.backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    network.eval()
    ids, tags = _batch(random.Random(4), tokenizer, 64)
    with torch.inference_mode():
        said = network(input_ids=ids).logits.argmax(-1)
    network.save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder)
    return float((said == tags)[tags >= 0].float().mean())


def _tokenizer(sentences: Sequence[Words]) -> Tokenizer:
    """Return a WordPiece tokenizer of so few pieces that names have several."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=220, special_tokens=[*_SPECIAL], show_progress=False)
    tokenizer.train_from_iterator([" ".join(word for word, _ in words) for words in sentences], trainer)
    places = [(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=places)
    return tokenizer


def _batch(draw: random.Random, tokenizer: Tokenizer, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return rows of sentences that fill all positions, and the tag of each word's first token, -100 elsewhere."""
    rows, tags = [], []
    for _ in range(size):
        words: Words = []
        while len(words) < 2 * POSITIONS:
            words += sentence(draw)
        words = words[draw.randint(0, 8) :]
        encoding = tokenizer.encode([word for word, _ in words], is_pretokenized=True)
        tag, seen = [], None
        for place in encoding.word_ids[: POSITIONS - 1]:
            tag.append(-100 if place is None or place == seen else TAGS.index(words[place][1]))
            seen = place
        rows.append([*encoding.ids[: POSITIONS - 1], tokenizer.token_to_id("[SEP]")])
        tags.append([*tag, -100])
    return torch.tensor(rows), torch.tensor(tags)
