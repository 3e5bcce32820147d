"""An embedding without a model: what a text is made of, counted.

Words, and the three-letter pieces of words, are each given a dimension and a sign by a hash, and add
up there. So texts are near to one another that share words, or parts of words: "paying" and
"payment", also with a letter wrong. Meaning it knows nothing of; a model takes the place of `embed`,
in an action, since it takes a while (README.md).
"""

import re
from collections import Counter
from hashlib import blake2b

DIMENSIONS = 256
#: In nearly every question, and so of no use to tell them apart.
_COMMON = frozenset([
    "a", "an", "and", "are", "be", "can", "do", "does", "for", "how", "i", "in", "is", "it", "my", "of", "on",
    "or", "the", "to", "what", "when", "with",
])  # fmt: skip


def embed(text: str) -> list[float]:
    """Return the embedding of a text; zeros if there is nothing in it."""
    vector = [0.0] * DIMENSIONS
    for piece, count in _pieces(text).items():
        digest = int.from_bytes(blake2b(piece.encode(), digest_size=8).digest())
        sign = 1.0 if digest & 1 else -1.0
        vector[(digest >> 1) % DIMENSIONS] += sign * count
    return vector


def _pieces(text: str) -> Counter[str]:
    pieces: Counter[str] = Counter()
    for word in re.findall(r"\w+", text.casefold()):
        if word in _COMMON:
            continue
        pieces[word] += 2
        padded = f"^{word}$"
        pieces.update(padded[at : at + 3] for at in range(len(padded) - 2))
    return pieces
