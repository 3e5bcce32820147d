"""Deployment variables: sealed, bounded, and read by name alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camber import limits
from camber.engine import system_tables
from camber.engine.variables import VariableChange, Variables, VariableUnreadable, variables_key
from camber.engine.writing import write
from camber.errors import BadRequest
from camber.values.value import Value
from tests.engine.harness import opened, read, rows, run

URLS = {"CONVEX_CLOUD_URL": "http://cloud", "CONVEX_SITE_URL": "http://site"}
VARIABLES = Variables(key=variables_key(b"a" * 32), urls=URLS)
OTHERS = Variables(key=variables_key(b"b" * 32), urls=URLS)


async def change(engine, changes, variables=VARIABLES):
    listed = [VariableChange(name=name, value=value) for name, value in changes]
    await write(engine, "test", lambda tx: variables.change(tx, listed))


def stored(engine, variables=VARIABLES):
    return {v.name: v.value for v in read(engine, variables.stored)}


def value(engine, name, variables=VARIABLES):
    return read(engine, lambda tx: variables.get(tx, name))


def documents(engine):
    return read(engine, lambda tx: rows(tx, system_tables.ENVIRONMENT_VARIABLES, "by_name"))


_names = st.sampled_from(["A", "b_1", "_c", "CONVEX"])
_values = st.one_of(st.none(), st.text(alphabet="aü\n\0 '\"", max_size=4))


@given(requests=st.lists(st.dictionaries(_names, _values, max_size=3), max_size=5))
def test_variables_are_what_was_set_last(requests):
    async def main():
        expected = {}
        async with opened(None) as engine:
            for request in requests:
                await change(engine, request.items())
                expected.update(request)
                expected = {k: v for k, v in expected.items() if v is not None}
                assert stored(engine) == expected
                assert list(stored(engine)) == sorted(expected)
                for name in ("A", "b_1", "_c", "CONVEX"):
                    assert value(engine, name) == expected.get(name)

    run(main())


def test_values_are_sealed_under_the_secret_and_the_name(tmp_path):
    async def main():
        async with opened(tmp_path, "sqlite") as engine:
            await change(engine, [("TOKEN", "hunter2"), ("OTHER", "hunter2")])
            assert {d["name"] for d in documents(engine)} == {"TOKEN", "OTHER"}
            assert b"hunter2" not in b"".join(
                file.read_bytes() for file in tmp_path.iterdir() if file.is_file()
            )
            with pytest.raises(VariableUnreadable, match=r"TOKEN.*another instance secret"):
                value(engine, "TOKEN", OTHERS)
            assert stored(engine, OTHERS) == {"TOKEN": None, "OTHER": None}
            # What was lost can be set again, and only that comes back.
            await change(engine, [("TOKEN", "new")], OTHERS)
            assert stored(engine, OTHERS) == {"TOKEN": "new", "OTHER": None}
            # A value under another name is as good as one of another secret.
            sealed = documents(engine)[0]["sealed"]
            token = documents(engine)[1]["_id"]
            fields = {"name": "TOKEN", "sealed": sealed}
            await write(engine, "test", lambda tx: tx.replace(token, fields))
            with pytest.raises(VariableUnreadable):
                value(engine, "TOKEN")

    run(main())


def test_plain_values_of_older_stores_are_read_and_sealed_when_written(tmp_path):
    async def main():
        async with opened(tmp_path) as engine:
            plain: dict[str, Value] = {"name": "OLD", "value": "x"}
            await write(
                engine, "test", lambda tx: tx.insert(system_tables.ENVIRONMENT_VARIABLES, plain)
            )
            assert value(engine, "OLD") == "x"
            await change(engine, [("OLD", "x")])
            assert value(engine, "OLD") == "x"
            assert "value" not in documents(engine)[0]

    run(main())


def test_setting_what_is_set_writes_nothing(tmp_path):
    async def main():
        async with opened(tmp_path) as engine:
            await change(engine, [("A", "1")])
            before = engine.newest_ts
            await change(engine, [("A", "1"), ("B", None)])
            assert engine.newest_ts == before

    run(main())


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ([("1A", "x")], "EnvironmentVariableNameInvalid"),
        ([("A-B", "x")], "EnvironmentVariableNameInvalid"),
        ([("", "x")], "EnvironmentVariableNameInvalid"),
        ([("A\n", "x")], "EnvironmentVariableNameInvalid"),
        ([("Ä", "x")], "EnvironmentVariableNameInvalid"),
        ([("CONVEX_SITE_URL", "x")], "EnvironmentVariableNameInvalid"),
        ([("A" * 257, "x")], "EnvironmentVariableNameTooLong"),
        ([("A", "x" * (8 * 1024 + 1))], "EnvironmentVariableValueTooLarge"),
        ([("A", "ü" * (4 * 1024 + 1))], "EnvironmentVariableValueTooLarge"),
        ([("A", "1"), ("A", None)], "EnvVarNameNotUnique"),
        ([(f"A{n}", "") for n in range(513)], "EnvVarLimitMet"),
        ([(f"A{n}", "x" * 8192) for n in range(65)], "EnvVarLimitMet"),
    ],
)
def test_what_cannot_be_set_changes_nothing(tmp_path, changes, code):
    async def main():
        async with opened(tmp_path) as engine:
            await change(engine, [("KEPT", "1")])
            with pytest.raises(BadRequest) as raised:
                await change(engine, [("FIRST", "1"), *changes])
            assert raised.value.code == code
            assert stored(engine) == {"KEPT": "1"}

    run(main())


def test_as_much_as_is_allowed_can_be_set(tmp_path):
    async def main():
        async with opened(tmp_path) as engine:
            large = [(f"L{n}", "x" * limits.variable_value_bytes_max) for n in range(64)]
            await change(engine, large)
            with pytest.raises(BadRequest, match="524289 bytes"):
                await change(engine, [("ONE", "x")])
            await change(engine, [(name, None) for name, _ in large])
            await change(engine, [("N" * 256, "")] + [(f"S{n}", "") for n in range(511)])
            with pytest.raises(BadRequest, match="513 variables"):
                await change(engine, [("ONE", "")])

    run(main())


def test_only_what_has_read_a_name_is_touched(tmp_path):
    async def main():
        async with opened(tmp_path) as engine:
            await change(engine, [("FOO", "1"), ("BAR", "2")])
            readers = {}
            for name in ("FOO", "BAR", "ABSENT", "CONVEX_CLOUD_URL"):
                transaction = engine.begin("reader")
                VARIABLES.get(transaction, name)
                readers[name] = transaction.finish().reads
                transaction.close()

            def touched_since(ts):
                touched = set()
                for commit in engine.store.tail(ts):
                    for name, reads in readers.items():
                        if reads.overlaps(commit.writes):
                            touched.add(name)
                return touched

            for changes, touched in (
                ([("FOO", "3")], {"FOO"}),
                ([("BAR", None), ("NEW", "1")], {"BAR"}),
                ([("ABSENT", "here")], {"ABSENT"}),
                ([("FOO", None), ("ABSENT", None)], {"FOO", "ABSENT"}),
            ):
                before = engine.newest_ts
                await change(engine, changes)
                assert touched_since(before) == touched
            before = engine.newest_ts
            await write(
                engine, "test", lambda tx: VARIABLES.set_url(tx, "CONVEX_CLOUD_URL", "http://new")
            )
            assert touched_since(before) == {"CONVEX_CLOUD_URL"}
            assert value(engine, "CONVEX_CLOUD_URL") == "http://new"
            assert stored(engine) == {"NEW": "1"}

    run(main())
