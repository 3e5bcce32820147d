"""Document ids (protocol 2): table number, 16 bytes, checksum, in lower-case Crockford base32.

Ids grow with the time at which they were made, to the millisecond: documents of one moment are
neighbours on disk, however many there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

from camber.errors import DeveloperError

_ALPHABET = b"0123456789abcdefghjkmnpqrstvwxyz"
_INTERNAL_BYTES = 16
_NS_PER_MS = 1_000_000
_TIME_BYTES = 6

#: The characters of digits by value; and what Python's own base 32 writes for each character: NUL,
#: which is no digit there either, for what is none here.
_CHARACTERS = _ALPHABET + bytes(256 - len(_ALPHABET))
_PYTHON_DIGITS = bytes(
    b"0123456789abcdefghijklmnopqrstuv"[_ALPHABET.index(byte)] if byte in _ALPHABET else 0
    for byte in range(256)
)


def _spreads() -> tuple[tuple[int, int, int], ...]:
    """Return the steps that give each of 32 digits of 5 bits a byte of its own.

    A step halves all groups of digits at once: it keeps the bits of the first mask, and moves
    those of the second up by so many.
    """
    steps = []
    for digits in (16, 8, 4, 2, 1):
        places = range(0, 256, 16 * digits)
        low = sum((1 << 5 * digits) - 1 << place for place in places)
        steps.append((low, low << 5 * digits, 3 * digits))
    return tuple(steps)


_SPREADS = _spreads()


class InvalidId(DeveloperError):
    """A string that is not a document id."""

    code = "InvalidId"


@dataclass(frozen=True, slots=True)
class DecodedId:
    """The parts of a document id."""

    table_number: int
    internal: bytes


def encode_id(table_number: int, internal: bytes) -> str:
    """Return the text of an id."""
    assert 0 < table_number < 2**32
    assert len(internal) == _INTERNAL_BYTES
    body = _varint(table_number) + internal
    return _base32(body + _footer(body))


@lru_cache(maxsize=4096)
def decode_id(text: str) -> DecodedId:
    """Return the parts of an id; strict, so that each id has one text.

    Raises:
        InvalidId: wrong length, foreign character, wrong checksum or non-canonical form.
    """
    if not 31 <= len(text) <= 37:
        msg = f"{text!r} is not a document id: ids have 31 to 37 characters, this has {len(text)}"
        raise InvalidId(msg)
    length_bits = len(text) * 5
    try:
        number = int(text.encode(errors="replace").translate(_PYTHON_DIGITS), 32)
    except ValueError:
        foreign = next(c for c in text if c not in _ALPHABET.decode())
        msg = f"{text!r} is not a document id: {foreign!r} is not one of its characters"
        raise InvalidId(msg) from None
    spare = length_bits % 8
    raw = (number >> spare).to_bytes(length_bits // 8, "big")
    table_number, size = _read_varint(raw, text)
    if len(raw) != size + _INTERNAL_BYTES + 2 or table_number == 0:
        msg = f"{text!r} is not a document id: it has the wrong length for its table"
        raise InvalidId(msg)
    body = raw[:-2]
    is_canonical = not number & (1 << spare) - 1 and body[:size] == _varint(table_number)
    if table_number >= 2**32 or not is_canonical or raw[-2:] != _footer(body):
        msg = f"{text!r} is not a document id: its checksum is wrong"
        raise InvalidId(msg)
    return DecodedId(table_number, body[size:])


def new_internal_id(random10: bytes, now_ns: int) -> bytes:
    """Return the 16 bytes of a new id: the milliseconds since the epoch, then random ones."""
    assert len(random10) == _INTERNAL_BYTES - _TIME_BYTES
    return (now_ns // _NS_PER_MS % 2**48).to_bytes(_TIME_BYTES, "big") + random10


@lru_cache(maxsize=1024)
def id_length(table_number: int) -> int:
    """Return the characters of every id of a table."""
    return len(encode_id(table_number, bytes(_INTERNAL_BYTES)))


def _base32(raw: bytes) -> str:
    length = -(-len(raw) * 8 // 5)
    number = int.from_bytes(raw, "big") << (length * 5 - len(raw) * 8)
    # The ids of tables up to number 16,383 have 32 digits; of others there are a few before.
    first = [_ALPHABET[number >> 5 * at & 31] for at in range(length - 1, 31, -1)]
    spread = number & (1 << 160) - 1
    for low, high, bits in _SPREADS:
        spread = spread & low | (spread & high) << bits
    digits = spread.to_bytes(32, "big").translate(_CHARACTERS)
    return (bytes(first) + digits[max(0, 32 - length) :]).decode()


@lru_cache(maxsize=1024)
def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _read_varint(raw: bytes, text: str) -> tuple[int, int]:
    number = 0
    for at, byte in enumerate(raw[:5]):
        number |= (byte & 0x7F) << (7 * at)
        if byte < 0x80:
            return number, at + 1
    msg = f"{text!r} is not a document id: its table number does not end"
    raise InvalidId(msg)


def _footer(body: bytes) -> bytes:
    """Return the Fletcher-16 checksum modulo 256, first sum first (version 0 changes no bit)."""
    sums = list(accumulate(body))
    return bytes((sums[-1] & 0xFF, sum(sums) & 0xFF))
