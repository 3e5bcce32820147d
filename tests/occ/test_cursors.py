from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camber.occ.cursors import Cursor, CursorCipher, InvalidCursor, cursor_key

CIPHER = CursorCipher(cursor_key(b"secret of one instance"))
cursors = st.builds(Cursor, st.one_of(st.none(), st.binary(max_size=40)), st.binary(max_size=16))


@given(cursors)
def test_a_cursor_opens_to_what_was_sealed_and_equal_ones_are_equal_texts(cursor):
    text = CIPHER.seal(cursor)
    assert CIPHER.open(text) == cursor
    assert CIPHER.seal(cursor) == text


@given(cursors, st.integers(0, 1000), st.sampled_from("Ab9_-="))
def test_a_changed_cursor_is_refused(cursor, at, character):
    text = CIPHER.seal(cursor)
    at %= len(text)
    changed = text[:at] + character + text[at + 1 :]
    if changed != text:
        with pytest.raises(InvalidCursor):
            CIPHER.open(changed)


@given(cursors)
def test_cursors_journals_and_instances_keep_apart(cursor):
    with pytest.raises(InvalidCursor):
        CIPHER.open(CIPHER.seal_journal(cursor))
    with pytest.raises(InvalidCursor):
        CIPHER.open_journal(CIPHER.seal(cursor))
    with pytest.raises(InvalidCursor):
        CursorCipher(cursor_key(b"another")).open(CIPHER.seal(cursor))


def test_a_cursor_hides_its_position():
    assert b"visible" not in CIPHER.seal(Cursor(b"visible" * 3, b"")).encode()


@pytest.mark.parametrize("text", ["", "x", "ü", "{}", "A" * 100])
def test_other_text_is_refused_in_the_way_that_clients_know(text):
    with pytest.raises(InvalidCursor) as refused:
        CIPHER.open(text)
    assert refused.value.data == {"isConvexSystemError": True, "paginationError": "InvalidCursor"}
