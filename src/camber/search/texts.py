"""Keys of text indexes, and what a search looks for in them.

A document has one key in a text index. It says all that a search asks: when the document was
created, what its filter fields hold, its words, and its id. So whoever keeps keys in order (stores,
their history, own writes, the write log) keeps texts without knowing what they are.

    time (9 bytes) · number of filter fields · their digests · " word word " · id

Filter values are compared by digest. A space stands on either side of each word, and no word holds
one, or a byte below it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Final, NamedTuple

import msgspec

from camber.values.keys import NUMBER_BYTES, decode_number, encode_part

_ID_TAG: Final = b"\x10"
#: As long as makes equal digests of different values unheard of, also by those who try.
DIGEST_BYTES: Final = 16
_DIGESTS_AT: Final = NUMBER_BYTES + 1


def filter_digest(encoded: bytes) -> bytes:
    """Return what stands for a filter field's value, given the value's part of a key."""
    return blake2b(encoded, digest_size=DIGEST_BYTES).digest()


def text_key(
    time_key: bytes, filters: Sequence[bytes], words: Sequence[str], id_key: bytes
) -> bytes:
    """Return the key of a text: `time_key` and `id_key` are parts as in other keys."""
    text = f" {' '.join(words)} ".encode() if words else b" "
    return b"".join((time_key, bytes((len(filters),)), *filters, text, id_key))


class Text(NamedTuple):
    """What a key of a text index says."""

    time: float
    id: str
    filters: tuple[bytes, ...]
    words: list[str]


def text_of_key(key: bytes) -> Text:
    """Return what a key says."""
    start = _words_at(key)
    end = key.rindex(_ID_TAG)
    filters = key[_DIGESTS_AT:start]
    return Text(
        time=decode_number(key[:NUMBER_BYTES]),
        id=key[end + 1 : -1].decode(),
        filters=tuple(
            filters[at : at + DIGEST_BYTES] for at in range(0, len(filters), DIGEST_BYTES)
        ),
        words=key[start:end].decode().split(),
    )


def with_digest(key: bytes, place: int, digest: bytes) -> bytes:
    """Return a key in which the filter field at `place` has another value, of this digest."""
    at = _DIGESTS_AT + place * DIGEST_BYTES
    return key[:at] + digest + key[at + DIGEST_BYTES :]


def words_of_text_key(key: bytes) -> bytes:
    """Return the words of a key as they stand in it, with a space before each, and one at the end."""
    return key[_words_at(key) : key.rindex(_ID_TAG)]


def id_of_text_key(key: bytes) -> str:
    """Return the id of the document of a key."""
    return key[key.rindex(_ID_TAG) + 1 : -1].decode()


def time_key_of(time: float) -> bytes:
    """Return how the keys of what was created at `time` begin."""
    return encode_part(time)


def _words_at(key: bytes) -> int:
    return _DIGESTS_AT + key[NUMBER_BYTES] * DIGEST_BYTES


class TextQuery(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag="text"):
    """What a search looks for: texts with one of `terms`, or with a word that begins as `prefix`.

    `filters` are the digests that a text has to have, by the place of their field, in order.
    """

    terms: tuple[str, ...]
    prefix: str | None
    filters: tuple[tuple[int, bytes], ...]

    @property
    def is_empty(self) -> bool:
        """Return whether nothing can be found."""
        return not self.terms and self.prefix is None

    @property
    def clauses(self) -> int:
        """Return how many clauses a score has: one for each term, and one for the prefix."""
        return len(self.terms) + (self.prefix is not None)

    def matcher(self) -> Callable[[bytes], bool]:
        """Return what tells of keys whether their texts are found."""
        needles = self.needles
        wanted = [(_DIGESTS_AT + place * DIGEST_BYTES, digest) for place, digest in self.filters]

        def matches(key: bytes) -> bool:
            for at, digest in wanted:
                if key[at : at + DIGEST_BYTES] != digest:
                    return False
            start = _words_at(key)
            return any(key.find(each, start) >= 0 for each in needles)

        return matches

    @property
    def needles(self) -> list[bytes]:
        """Return what each clause looks for in the words of a key: one of them will do."""
        needles = [f" {term} ".encode() for term in self.terms]
        if self.prefix is not None:
            needles.append(f" {self.prefix}".encode())
        return needles

    def counts(self, words: Sequence[str]) -> list[int]:
        """Return how often each term is among words, and then how many begin as the prefix."""
        counts = [words.count(term) for term in self.terms]
        if self.prefix is not None:
            prefix = self.prefix
            counts.append(sum([word.startswith(prefix) for word in words]))
        return counts
