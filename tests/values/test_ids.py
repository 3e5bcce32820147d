"""Document ids: the worked examples of protocol 2.6, and that every other text is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camber.values.ids import InvalidId, decode_id, encode_id, id_length, new_internal_id

EXAMPLES = [
    (1, "00" * 16, "0400000000000000000000000000248"),
    (10001, "000102030405060708090a0b0c0d0e0f", "j57000820c20a1g7104gm2rc1m70ynr8"),
    (10003, "deadbeefcafebabe0123456789abcdef", "jd7dxbdyxz5fxeny04hmasw9nf6yy6de"),
    (4294967295, "ff" * 16, "zzzzzzrfzzzzzzzzzzzzzzzzzzzzzzzzzzxjj"),
]


@pytest.mark.parametrize(("number", "internal", "text"), EXAMPLES)
def test_the_protocols_own_examples(number, internal, text):
    assert encode_id(number, bytes.fromhex(internal)) == text
    decoded = decode_id(text)
    assert (decoded.table_number, decoded.internal.hex()) == (number, internal)


@given(st.integers(1, 2**32 - 1), st.binary(min_size=16, max_size=16))
def test_an_id_says_its_table_and_its_bytes(number, internal):
    text = encode_id(number, internal)
    assert len(text) == id_length(number)
    decoded = decode_id(text)
    assert (decoded.table_number, decoded.internal) == (number, internal)


@given(st.sampled_from([e[2] for e in EXAMPLES]), st.integers(0, 36), st.sampled_from("0z5iloUA-"))
def test_a_changed_id_is_refused(text, at, character):
    changed = text[: at % len(text)] + character + text[at % len(text) + 1 :]
    if changed != text:
        with pytest.raises(InvalidId):
            decode_id(changed)


@given(
    st.integers(0, 2**36),
    st.integers(1, 6),
    st.binary(min_size=16, max_size=16),
    st.integers(0, 31),
)
def test_what_is_decoded_is_the_only_text_of_its_id(number, size, internal, spare):
    """Texts with a right checksum, but for the form of their number and the bits beyond the end."""
    varint = [number >> 7 * at & 0x7F | 0x80 for at in range(size)]
    varint[-1] &= 0x7F
    body = bytes(varint) + internal
    first = second = 0
    for byte in body:
        first = (first + byte) % 256
        second = (second + first) % 256
    bits = "".join(f"{byte:08b}" for byte in (*body, first, second))
    bits += f"{spare:05b}"[: -len(bits) % 5]
    text = "".join(
        "0123456789abcdefghjkmnpqrstvwxyz"[int(bits[at : at + 5], 2)]
        for at in range(0, len(bits), 5)
    )
    try:
        decoded = decode_id(text)
    except InvalidId:
        return
    assert encode_id(decoded.table_number, decoded.internal) == text
    assert decoded.internal == internal


@pytest.mark.parametrize(
    "text", ["\ud800" * 32, "", "j57", "0" * 31, "0" * 32, "z" * 37, "ü" * 31, "x" * 100]
)
def test_other_text_is_refused(text):
    with pytest.raises(InvalidId, match="is not a document id"):
        decode_id(text)


def test_ids_grow_with_time():
    last, first = bytes([255] * 10), bytes(10)
    texts = [
        encode_id(10001, new_internal_id(random, ms * 10**6))
        for ms in (0, 1, 1_900_000_000_000, 1_900_000_000_001)
        for random in (first, last)
    ]
    assert texts == sorted(set(texts))
    made = new_internal_id(bytes(range(10)), 5 * 10**6 + 999_999)
    assert made == bytes([0, 0, 0, 0, 0, 5, *range(10)])
