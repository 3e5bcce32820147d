"""Document ids (protocol 2): table number, 16 bytes, checksum, in lower-case Crockford base32."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from camber.errors import DeveloperError

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_DIGITS = {character: value for value, character in enumerate(_ALPHABET)}
_INTERNAL_BYTES = 16
_NS_PER_DAY = 86_400 * 10**9


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
    number = 0
    for character in text:
        digit = _DIGITS.get(character)
        if digit is None:
            msg = f"{text!r} is not a document id: {character!r} is not one of its characters"
            raise InvalidId(msg)
        number = number << 5 | digit
    spare = len(text) * 5 % 8
    raw = (number >> spare).to_bytes(len(text) * 5 // 8, "big")
    table_number, size = _read_varint(raw, text)
    internal = raw[size : size + _INTERNAL_BYTES]
    if len(raw) != size + _INTERNAL_BYTES + 2 or table_number == 0:
        msg = f"{text!r} is not a document id: it has the wrong length for its table"
        raise InvalidId(msg)
    if table_number >= 2**32 or encode_id(table_number, internal) != text:
        msg = f"{text!r} is not a document id: its checksum is wrong"
        raise InvalidId(msg)
    return DecodedId(table_number, internal)


def new_internal_id(random14: bytes, now_ns: int) -> bytes:
    """Return the 16 bytes of a new id: 14 random ones, then the day since the epoch."""
    assert len(random14) == 14
    return random14 + (now_ns // _NS_PER_DAY % 65536).to_bytes(2, "big")


@lru_cache(maxsize=1024)
def id_length(table_number: int) -> int:
    """Return the characters of every id of a table."""
    return len(encode_id(table_number, bytes(_INTERNAL_BYTES)))


def _base32(raw: bytes) -> str:
    length = -(-len(raw) * 8 // 5)
    number = int.from_bytes(raw, "big") << (length * 5 - len(raw) * 8)
    digits = []
    for _ in range(length):
        digits.append(_ALPHABET[number & 31])
        number >>= 5
    return "".join(reversed(digits))


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
    first = second = 0
    for byte in body:
        first = first + byte & 0xFF
        second = second + first & 0xFF
    return bytes([first, second])
