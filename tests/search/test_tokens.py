"""What the words of texts are, in many scripts."""

from __future__ import annotations

import unicodedata
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camber import limits
from camber.schema import table
from camber.search.tokens import TOKENIZERS, search_words, text_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hello, World!", ["hello", "world"]),
        ("snake_case don't e-mail 3.14", ["snake", "case", "don", "t", "e", "mail", "3", "14"]),
        ("", []),
        ("… — 🎉 ❤️", []),
        ("Straße", ["strasse"]),
        ("ΣΊΣΥΦΟΣ", ["σίσυφοσ"]),
        ("Cafe\u0301 café", ["café", "café"]),
        ("naïve naive", ["naïve", "naive"]),
        ("co\u00adoperate", ["cooperate"]),
        ("ভাষা\u200bcafe\u200d\u0301", ["ভাষা", "café"]),
        ("1\ufe0f\u20e3 ❤\ufe0f", ["1\u20e3"]),
        ("葛\U000e0100城", ["葛城"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("שָׁלוֹם", ["שָׁלוֹם"]),
        ("東京都 タワー", ["東京都", "タワー"]),
        ("a" * 31 + " " + "b" * 32, ["a" * 31]),
        ("é" * 15 + " " + "é" * 16, ["é" * 15]),
        ("東" * 10 + " " + "東" * 11, ["東" * 10]),
    ],
)
def test_words_are_letters_and_digits_with_case_folded(text, words):
    normal = [unicodedata.normalize("NFC", word) for word in words]
    assert text_words(text, "words") == normal
    assert search_words(text, "words") == normal


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Résumé RÉSUMÉ resume", ["resume"] * 3),
        ("Łódź Ærøskøbing þorn", ["lodz", "aeroskobing", "thorn"]),
        ("İstanbul ılık", ["istanbul", "ilik"]),  # noqa: RUF001
        ("Ｆｕｌｌ ﬁne", ["full", "fine"]),  # noqa: RUF001
        ("Ёлка", ["елка"]),
        ("שָׁלוֹם", ["שלום"]),
        ("東京都", ["東京", "京都", "都"]),
        ("東", ["東"]),
        ("Windows版を試す", ["windows", "版を", "を試", "試す", "す"]),
        ("ｶﾞｷﾞ", ["ガギ", "ギ"]),
        ("한국어 문서", ["한국", "국어", "어", "문서", "서"]),
        ("हिन्दी", ["हिन्दी"]),
        ("กุ้งต้ม", ["กุ้ง", "งต้", "ต้ม", "ม"]),
        ("aุ京 東ุ京", ["a", "京", "東ุ京", "京"]),
        ("မြန်မာ", ["မြန်", "န်မာ", "မာ"]),
        ("جميـــلٌ", ["جميل"]),
        ("東" * 50, ["東東"] * 49 + ["東"]),
    ],
)
def test_a_multilingual_index_folds_accents_and_cuts_what_has_no_spaces(text, words):
    assert text_words(text, "multilingual") == words


def test_searches_look_for_pairs_and_for_one_character_alone():
    assert search_words("東京都", "multilingual") == ["東京", "京都"]
    assert search_words("東", "multilingual") == ["東"]


def test_a_schema_knows_the_tokenizers_that_there_are():
    assert set(get_args(table.Tokenizer)) == set(TOKENIZERS)


anything = st.text(
    st.one_of(st.characters(codec="utf-8"), st.sampled_from("aéÉß 東京ガ゙한\u0301_-")), max_size=40
)


@given(anything, st.sampled_from(TOKENIZERS))
def test_words_hold_what_keys_of_texts_can_hold(text, tokenizer):
    for words in (text_words(text, tokenizer), search_words(text, tokenizer)):
        for word in words:
            assert word
            assert len(word.encode()) <= limits.search_word_bytes_max
            assert {unicodedata.category(each)[0] for each in word} <= set("LNM")
            assert word[0].isalnum()


@given(anything, st.sampled_from(TOKENIZERS))
def test_a_text_is_found_by_itself_in_any_spelling(text, tokenizer):
    stored = set(text_words(text, tokenizer))
    for spelt in (text, unicodedata.normalize("NFD", text), unicodedata.normalize("NFC", text)):
        assert set(search_words(spelt, tokenizer)) <= stored


@given(anything, st.sampled_from(TOKENIZERS))
def test_words_are_words_of_themselves(text, tokenizer):
    """What was found in one text can be searched for again."""
    for word in search_words(text, tokenizer):
        assert search_words(word, tokenizer) == [word]
