"""Documents that a result hands on as they are stored are in it as if written field by field."""

from __future__ import annotations

from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from camber import UNSET, Id, Int64, Table
from camber.schema.plan import ArrayPlan
from camber.schema.table import StoredDocuments, resolve_tables
from camber.values.ids import encode_id
from camber.values.packed import array_of_packed, pack, unpack
from camber.values.value import Value

NUMBER = 10_001


class Plain(Table, table="plain"):
    text: str
    number: float
    whole: int
    flag: bool
    raw: bytes
    owner: Id[Plain] | None


class Defaulted(Table, table="defaulted"):
    text: str
    maybe: str | msgspec.UnsetType = UNSET
    number: float = 3


class Optional(Table, table="optional"):
    text: str
    maybe: str | msgspec.UnsetType = UNSET


class Listed(Table, table="listed"):
    items: list[str]
    anything: Any = None


class Counted(Table, table="counted"):
    large: Int64


class Renewed(Table, table="renewed"):
    text: str

    def __post_init__(self):
        msgspec.structs.force_setattr(self, "text", self.text.upper())


TABLES = {
    cls.__camber__.name: cls.__camber__
    for cls in (Plain, Defaulted, Optional, Listed, Counted, Renewed)
}
resolve_tables(TABLES.values())


class _Names:
    def number(self, name):
        return NUMBER + list(TABLES).index(name)

    def name(self, number):
        return list(TABLES)[number - NUMBER]


NAMES = _Names()
IDS = st.binary(min_size=16, max_size=16).map(lambda internal: encode_id(NUMBER, internal))
FLOATS = st.one_of(st.floats(allow_nan=True), st.integers(-(2**53), 2**53).map(float))
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
FIELDS = {
    "plain": st.fixed_dictionaries(
        {
            "text": TEXTS,
            "number": FLOATS,
            "whole": st.integers(-(2**53), 2**53),
            "flag": st.booleans(),
            "raw": st.binary(),
            "owner": st.none() | IDS,
        }
    ),
    "defaulted": st.fixed_dictionaries(
        {"text": TEXTS}, optional={"maybe": TEXTS, "number": FLOATS}
    ),
    "optional": st.fixed_dictionaries({"text": TEXTS}, optional={"maybe": TEXTS}),
    "listed": st.fixed_dictionaries({"items": st.lists(TEXTS)}, optional={"anything": TEXTS}),
    "counted": st.fixed_dictionaries({"large": st.integers(-(2**63), 2**63 - 1).map(Int64)}),
    "renewed": st.fixed_dictionaries({"text": TEXTS}),
}


def stored(draw, table):
    fields = draw(FIELDS[table])
    return pack(
        {**fields, "_id": draw(IDS), "_creationTime": draw(st.floats(0, 1e15, exclude_min=True))}
    )


def read(table, packed):
    """Return a document as a query reads it, and what a result of that execution is encoded with."""
    names = StoredDocuments(NAMES)
    (document,) = table.decode_documents([packed], NAMES, names)
    return document, names


@pytest.mark.parametrize("name", list(TABLES))
@given(st.data())
def test_a_document_in_a_result_has_the_bytes_of_its_fields(name, data):
    table = TABLES[name]
    packed = stored(data.draw, name)
    if name != "plain":
        number = NAMES.number(name)
        document = cast("dict[str, Any]", unpack(packed))
        document["_id"] = encode_id(number, bytes(16))
        packed = pack(document)
    document, names = read(table, packed)
    plan = table.document_plan()
    assert pack([plan.encode(document, names)]) == pack([plan.encode(document, NAMES)])


@pytest.mark.parametrize("name", ["plain", "optional"])
@given(st.data())
def test_what_is_handed_on_is_not_written_anew(name, data):
    packed = stored(data.draw, name)
    document, names = read(TABLES[name], packed)
    encoded = TABLES[name].document_plan().encode(document, names)
    assert type(encoded) is msgspec.Raw
    assert pack(encoded) == packed


@pytest.mark.parametrize("count", [0, 1, 15, 16, 65_535, 65_536])
def test_an_array_of_packed_values_is_the_packed_array(count):
    values: list[Value] = [at % 300 for at in range(count)]
    assert array_of_packed([pack(value) for value in values]) == pack(values)


@given(st.data())
def test_an_array_of_documents_has_the_bytes_of_their_fields(data):
    """Some of them handed on, others copies, others again without a field that has a default."""
    table = TABLES["defaulted"]
    packed = [
        packed_of("defaulted", **data.draw(FIELDS["defaulted"]))
        for _ in range(data.draw(st.integers(0, 20)))
    ]
    names = StoredDocuments(NAMES)
    documents = table.decode_documents(packed, NAMES, names)
    if data.draw(st.booleans()):
        documents = [
            msgspec.structs.replace(each, text="copy") for each in documents[:1]
        ] + documents
    plan = ArrayPlan(table.document_plan())
    assert pack(plan.encode(documents, names)) == pack(plan.encode(documents, NAMES))


def packed_of(name, **fields):
    id_ = encode_id(NAMES.number(name), bytes(16))
    return pack({"_id": id_, "_creationTime": 1.5, **fields})


def result(name, document, names):
    return unpack(pack(TABLES[name].document_plan().encode(document, names)))


def test_a_default_that_is_not_stored_is_in_the_result():
    document, names = read(TABLES["defaulted"], packed_of("defaulted", text="a"))
    assert result("defaulted", document, names)["number"] == 3


def test_a_list_that_was_changed_in_place_is_in_the_result():
    document, names = read(TABLES["listed"], packed_of("listed", items=["a"]))
    document.items.append("b")
    assert result("listed", document, names)["items"] == ["a", "b"]


def test_what_a_class_makes_of_a_document_is_in_the_result():
    document, names = read(TABLES["renewed"], packed_of("renewed", text="a"))
    assert result("renewed", document, names)["text"] == "A"


def test_a_changed_copy_is_not_the_document_that_it_was_made_of():
    document, names = read(TABLES["optional"], packed_of("optional", text="a"))
    copy = msgspec.structs.replace(document, text="b")
    assert result("optional", copy, names)["text"] == "b"
    assert result("optional", document, names)["text"] == "a"


def test_a_stored_document_with_a_field_too_many_is_refused():
    with pytest.raises(Exception, match="extra field `other`"):
        read(
            TABLES["plain"],
            packed_of(
                "plain",
                other=1,
                text="",
                number=1,
                whole=1,
                flag=True,
                raw=b"",
                owner=None,
            ),
        )
