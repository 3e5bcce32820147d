"""Searches in many languages, as people type them: what an index of each kind finds, and what it does not."""

# ruff: noqa: RUF001  # letters that look like others are what this is about

from __future__ import annotations

import unicodedata

import pytest

from camber import ArgumentValidationError
from camber.testing import TestApp
from tests.functions.projects import write_project

SCHEMA = """
    from camber import SearchIndex, Table

    class Text(Table, table="texts"):
        body: str
        search_words = SearchIndex("body")
        search_anyhow = SearchIndex("body", tokenizer="multilingual")
"""
TEXTS = """
    from typing import Any
    from .schema import Text
    from camber import MutationCtx, QueryCtx, mutation, query

    @mutation
    def add(ctx: MutationCtx, bodies: list[str]) -> None:
        for body in bodies:
            ctx.db.insert(Text(body=body))

    @query
    def found(ctx: QueryCtx, index: str, text: str) -> list[str]:
        return [each.body for each in ctx.db.query(Text).with_search_index(index, text).take(20)]
"""
BODIES = [
    "Die Straße zum Café",
    "Müller & Söhne",
    "Donaudampfschifffahrtsgesellschaftskapitän",
    "İstanbul'da kış",
    "ISPARTA ılık",
    "Ὀδυσσεύς",
    "Η Οδύσσεια του Ομήρου",
    "東京都の天気",
    "葛󠄀城さん",
    "ラーメンを食べる",
    "北京大学",
    "대한민국의 수도",
    "ภาษาไทยไม่มีช่องว่าง",
    "𝔉𝔯𝔞𝔨𝔱𝔲𝔯",
    "👍🏽 great ❤️ job 👩‍👩‍👧",
    "عَرَبِيّ جميـــل",
    "שָׁלוֹם עולם",
    "हिन्दी भाषा",
    "Nguyễn Văn Thiệu",
    "١٢٣ and 123",
]


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    folder = tmp_path_factory.mktemp("languages")
    write_project(folder, schema=SCHEMA, texts=TEXTS)
    with TestApp(folder) as opened:
        opened.mutation("texts:add", bodies=BODIES)
        yield opened


def found(app, index, text):
    return app.query("texts:found", index=index, text=text)


@pytest.mark.parametrize(
    ("text", "body", "by_words"),
    [
        # German.
        ("STRASSE", "Die Straße zum Café", True),
        ("strasse zzz", "Die Straße zum Café", True),
        ("cafe", "Die Straße zum Café", False),
        ("Söhne", "Müller & Söhne", True),
        ("muller", "Müller & Söhne", False),
        # Turkish: four letters i.
        ("istanbul", "İstanbul'da kış", False),
        ("İSTANBUL", "İstanbul'da kış", True),
        ("kis", "İstanbul'da kış", False),
        ("isparta", "ISPARTA ılık", True),
        ("ILIK", "ISPARTA ılık", False),
        # Greek: marks, and the last sigma.
        ("οδυσσευς", "Ὀδυσσεύς", False),
        ("ὈΔΥΣΣΕΎΣ", "Ὀδυσσεύς", True),
        ("οδύσσεια", "Η Οδύσσεια του Ομήρου", True),
        # What is written without spaces, as a whole and within.
        ("東京", "東京都の天気", True),
        ("天気", "東京都の天気", False),
        ("京都", "東京都の天気", False),
        ("葛城", "葛󠄀城さん", True),
        ("ﾗｰﾒﾝ", "ラーメンを食べる", False),
        ("食べ", "ラーメンを食べる", False),
        ("大学", "北京大学", False),
        ("수도", "대한민국의 수도", True),
        ("민국", "대한민국의 수도", False),
        ("ไม่มี", "ภาษาไทยไม่มีช่องว่าง", False),
        ("ไทย", "ภาษาไทยไม่มีช่องว่าง", False),
        # Forms, pictures, marks.
        ("fraktur", "𝔉𝔯𝔞𝔨𝔱𝔲𝔯", False),
        ("👍 JOB", "👍🏽 great ❤️ job 👩‍👩‍👧", True),
        ("عربي", "عَرَبِيّ جميـــل", False),
        ("جميل", "عَرَبِيّ جميـــل", False),
        ("שלום", "שָׁלוֹם עולם", False),
        ("हिन्दी", "हिन्दी भाषा", True),
        ("nguyen thieu", "Nguyễn Văn Thiệu", False),
        ("NGUYỄN", "Nguyễn Văn Thiệu", True),
        ("١٢٣", "١٢٣ and 123", True),
    ],
)
def test_what_people_type_is_found(app, text, body, by_words):
    for form in ("NFC", "NFD"):
        spelt = unicodedata.normalize(form, text)
        assert found(app, "search_anyhow", spelt) == [body]
        assert found(app, "search_words", spelt) == ([body] if by_words else [])


@pytest.mark.parametrize("index", ["search_words", "search_anyhow"])
@pytest.mark.parametrize(
    "text",
    [
        "",
        " \t\n\u3000",
        "👍",
        "❤️",
        "…?!\"'()*:^-+",
        'rowid : (q OR "w") NOT x* NEAR(y, 2)',
        "\0",
        "\u0301\u200d\ufe0f",
        "a" * 5000,
        # Words of 32 bytes are left out of texts too.
        "Donaudampfschifffahrtsgesellschaftskapitän",
        "x̂" * 500,
        "zzz " * 5000,
        "'; DROP TABLE texts; --",
    ],
)
def test_what_has_no_words_of_a_text_finds_nothing(app, index, text):
    assert found(app, index, text) == []


def test_what_is_no_text_is_refused(app):
    for text in ("\ud800", 3, None):
        with pytest.raises(ArgumentValidationError, match="text"):
            found(app, "search_words", text)
    assert found(app, "search_words", "great") == ["👍🏽 great ❤️ job 👩‍👩‍👧"]
