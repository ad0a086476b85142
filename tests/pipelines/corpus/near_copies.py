"""Texts of known likeness, and what likeness is, said once more in the plainest Python."""

import random
import re

_WORD = re.compile(r"[^\W_]+")


def shingle_set(text: str) -> set[tuple[str, ...]]:
    """The shingles of a text of letters and spaces, one word for each word."""
    words = _WORD.findall(text.casefold())
    if len(words) < 5:
        return {(word,) for word in words}
    return {tuple(words[start : start + 5]) for start in range(len(words) - 4)}


def true_jaccard(one: str, other: str) -> float:
    first, second = shingle_set(one), shingle_set(other)
    return len(first & second) / len(first | second)


def prose(rng: random.Random, num_words: int) -> str:
    """Words that no other text has in this order."""
    return " ".join(f"{rng.choice('bdfgklmnprst')}{rng.choice('aeiou')}{rng.randrange(5000)}" for _ in range(num_words))


def edited(rng: random.Random, text: str, jaccard: float) -> str:
    """The text with as many words replaced, far from each other, as bring it to about this similarity."""
    words = text.split(" ")
    num_edits = max(1, round((len(words) - 4) * (1 - jaccard) / (5 * (1 + jaccard))))
    for place in rng.sample(range(2, len(words) - 4, 5), num_edits):
        words[place] = f"edit{rng.randrange(10**9)}"
    return " ".join(words)
