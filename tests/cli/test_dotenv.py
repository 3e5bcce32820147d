from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camber.cli.dotenv import NotDotenv, format_dotenv, parse_dotenv

_values = st.text(alphabet="aZ9 =#'\"`\\nr\n\r\t$üé", max_size=8)


@given(values=st.dictionaries(st.sampled_from(["A", "b_1", "_C"]), _values))
def test_what_is_written_is_read(values):
    lines, written = [], {}
    for name, value in values.items():
        try:
            lines.append(format_dotenv(name, value))
        except NotDotenv:
            # Only where every kind of quote would change it.
            assert '"' in value or "\\" in value
            assert "\r" in value or ("'" in value and "`" in value)
        else:
            written[name] = value
    assert parse_dotenv("\n".join(lines), "test") == written


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("# comment\n\n  \nA=1\n", {"A": "1"}),
        ("\ufeffA=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
        ("export A = x y \n", {"A": "x y"}),
        ("A=x # comment\nB=x#y\nC=#\nD=", {"A": "x", "B": "x#y", "C": "", "D": ""}),
        ("A='x # y' # comment\n", {"A": "x # y"}),
        ("A=\"a\\nb\"\nB='a\\nb'\nC=a\\nb\n", {"A": "a\nb", "B": "a\\nb", "C": "a\\nb"}),
        ("KEY=\"-----BEGIN\nabc\n-----END\"\nB=1", {"KEY": "-----BEGIN\nabc\n-----END", "B": "1"}),
        ("A=1\nA=2\n", {"A": "2"}),
        ("A=`it's \"so\"`\n", {"A": "it's \"so\""}),
        ("  A=1\n\tB=2", {"A": "1", "B": "2"}),
    ],
)  # fmt: skip
def test_files_as_people_write_them(text, expected):
    assert parse_dotenv(text, "test") == expected


@pytest.mark.parametrize(
    ("text", "line"),
    [("A=1\nhunter2\n", 2), ("A='hunter2\nB=1", 1), ("1A=hunter2", 1), ("A='x' hunter2", 1)],
)
def test_what_is_no_such_file_is_told_without_its_secrets(text, line):
    with pytest.raises(NotDotenv, match=f"secrets.env, line {line}: ") as raised:
        parse_dotenv(text, "secrets.env")
    assert "hunter2" not in str(raised.value)
