"""What the words of a text are.

Texts and the searches for them are cut by the same rules, so that what was written is found:

- `words`: letters, digits and the marks that belong to them are words, all else lies between them.
  Case is folded ("Straße" is "STRASSE"), and characters that can be written in several ways are
  one ("é" as one character or two). Accents tell words apart.
- `multilingual`: besides, accents do not ("résumé" is "resume"), nor do forms of a character
  (full-width letters are letters); and scripts that are written without spaces are cut into pairs of neighbours.

There are no stop words, and words are not reduced to stems.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum
from itertools import pairwise
from typing import Final

from camber import limits

#: Letters that have no accents to take off, though people write them without.
_PLAIN: Final = str.maketrans(
    {
        "ø": "o",
        "ł": "l",
        "đ": "d",
        "ð": "d",
        "ħ": "h",
        "\u0131": "i",
        "æ": "ae",
        "œ": "oe",
        "þ": "th",
    }
)
#: Accents: the blocks of combining marks, the points of Hebrew, and those of Arabic with the strokes
#: that only make its words longer. Other scripts write vowels as marks, without which words would be
#: other words.
_ACCENTS: Final = re.compile(
    "[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
    "\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0640\u064b-\u065f\u0670]"
)
#: Scripts that put no spaces between words, or none where searches would want them: Thai, Lao,
#: Burmese, Khmer, Kana, Han, Hangul.
_UNSPACED: Final = re.compile(
    "([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]+)"
)
#: Marks that choose among forms of the character before them, as of emoji and of names in Han.
_SELECTORS: Final = frozenset(
    [*range(0x180B, 0x180E), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)]
)
#: Marks of the scripts without spaces.
_MARKS: Final = frozenset(
    character
    for character in map(chr, [*range(0x0E00, 0x0F00), *range(0x1000, 0x1800), 0x3099, 0x309A])
    if unicodedata.category(character)[0] == "M"
)
#: Where words may end that is not to be seen: between words of Thai and Khmer.
_INVISIBLE_SPACE: Final = 0x200B


class _Use(Enum):
    """What words are cut for: to be found, or to find."""

    STORED = "stored"
    SEARCH = "search"


class _Separators(dict[int, str]):
    """What `str.translate` makes of a character: itself in a word, a space between words.

    Characters that only say how to show others, such as soft hyphens, are neither.
    """

    def __missing__(self, code: int) -> str:
        kind = unicodedata.category(chr(code))
        if code in _SELECTORS or (kind == "Cf" and code != _INVISIBLE_SPACE):
            found = ""
        else:
            found = chr(code) if kind[0] in "LNM" else " "
        self[code] = found
        return found


_SEPARATORS: Final = _Separators()

#: Characters that no encoding makes too long.
_FITS_ANYHOW: Final = limits.search_word_bytes_max // 4


def text_words(text: str, tokenizer: str) -> list[str]:
    """Return the words of a text that is searched, in order."""
    return _TOKENIZERS[tokenizer](text, _Use.STORED)


def search_words(text: str, tokenizer: str) -> list[str]:
    """Return the words of a text that is searched for, in order."""
    return _TOKENIZERS[tokenizer](text, _Use.SEARCH)


def _words(text: str, use: _Use) -> list[str]:
    del use
    return list(filter(_fits, _cut(text.casefold())))


def _multilingual(text: str, use: _Use) -> list[str]:
    if text.isascii():
        return list(filter(_fits, _cut(text.casefold())))
    apart = unicodedata.normalize("NFKD", text.casefold())
    # Compatibility forms may have brought capitals.
    plain = _ACCENTS.sub("", apart).casefold().translate(_PLAIN)
    return list(filter(_fits, _with_pairs(_cut(plain), use)))


def _cut(text: str) -> list[str]:
    apart = text.translate(_SEPARATORS)
    if text.isascii():
        return apart.split()
    # Now, since a character that was left out may have kept two others from being one.
    words = unicodedata.normalize("NFC", apart).split()
    return list(filter(None, map(_without_stray_marks, words)))


def _without_stray_marks(word: str) -> str:
    """Return a word without the marks at its beginning, which belonged to no letter."""
    if word[:1].isalnum():
        return word
    at = next((at for at, character in enumerate(word) if character.isalnum()), len(word))
    return word[at:]


def _fits(word: str) -> bool:
    """Return whether a word may be searched for: what is longer is none that people write."""
    return len(word) <= _FITS_ANYHOW or len(word.encode()) <= limits.search_word_bytes_max


def _with_pairs(words: Iterable[str], use: _Use) -> Iterator[str]:
    for word in words:
        for part in filter(None, map(_without_stray_marks, _UNSPACED.split(word))):
            if not _UNSPACED.match(part):
                yield part
                continue
            characters = _characters(part)
            for first, second in pairwise(characters):
                yield first + second
            # A text has its last character alone too: who looks for one character finds it by its
            # pairs, which begin with it, or here.
            if use is _Use.STORED or len(characters) == 1:
                yield characters[-1]


def _characters(part: str) -> Sequence[str]:
    """Return characters as people count them: with their marks, as the vowels of Thai are."""
    if _MARKS.isdisjoint(part):
        return part
    found: list[str] = []
    for character in part:
        if found and character in _MARKS:
            found[-1] += character
        else:
            found.append(character)
    return found


_TOKENIZERS: Final[dict[str, Callable[[str, _Use], list[str]]]] = {
    "words": _words,
    "multilingual": _multilingual,
}
#: The names that an index may give.
TOKENIZERS: Final = tuple(_TOKENIZERS)
