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
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
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
#: Accents: the blocks of combining marks, the points of Hebrew and those of Arabic. Other scripts
#: write vowels as marks, without which words would be other words.
_ACCENTS: Final = re.compile(
    "[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe00-\ufe0f\ufe20-\ufe2f"
    "\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u064b-\u065f\u0670]"
)
#: Scripts that put no spaces between words, or none where searches would want them: Thai, Lao,
#: Burmese, Khmer, Kana, Han, Hangul.
_UNSPACED: Final = re.compile(
    "([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]+)"
)


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
        found = chr(code) if kind[0] in "LNM" else "" if kind == "Cf" else " "
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
    return list(filter(_fits, _cut(unicodedata.normalize("NFC", text.casefold()))))


def _multilingual(text: str, use: _Use) -> list[str]:
    if text.isascii():
        return list(filter(_fits, _cut(text.casefold())))
    apart = unicodedata.normalize("NFKD", text.casefold())
    # Compatibility forms may have brought capitals.
    plain = _ACCENTS.sub("", apart).casefold().translate(_PLAIN)
    words = _cut(unicodedata.normalize("NFC", plain))
    return list(filter(_fits, _with_pairs(words, use)))


def _cut(text: str) -> list[str]:
    words = text.translate(_SEPARATORS).split()
    if text.isascii():
        return words
    bare = (word if word[0].isalnum() else _without_stray_marks(word) for word in words)
    return [word for word in bare if word]


def _without_stray_marks(word: str) -> str:
    """Return a word without the marks at its beginning, which belonged to no letter."""
    at = next((at for at, character in enumerate(word) if character.isalnum()), len(word))
    return word[at:]


def _fits(word: str) -> bool:
    """Return whether a word may be searched for: what is longer is none that people write."""
    return len(word) <= _FITS_ANYHOW or len(word.encode()) <= limits.search_word_bytes_max


def _with_pairs(words: Iterable[str], use: _Use) -> Iterator[str]:
    for word in words:
        for part in filter(None, _UNSPACED.split(word)):
            if not _UNSPACED.match(part):
                yield part
                continue
            for at in range(len(part) - 1):
                yield part[at : at + 2]
            # A text has its last character alone too: who looks for one character finds it by its
            # pairs, which begin with it, or here.
            if use is _Use.STORED or len(part) == 1:
                yield part[-1]


_TOKENIZERS: Final[dict[str, Callable[[str, _Use], list[str]]]] = {
    "words": _words,
    "multilingual": _multilingual,
}
#: The names that an index may give.
TOKENIZERS: Final = tuple(_TOKENIZERS)
