"""Other spellings of a name: those that a file system which folds case or Unicode takes for the same.

In a sorted list of paths they are found by following only the characters that can lead to one, so that a
folder of millions need not be read.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Mapping
from functools import cache

from artline.artifacts.paths import IGNORED, fold, fold_letters

__all__ = ["other_spellings"]

_BLOCK = 256
_DROPPED = (".", " ")
_HIGHEST = chr(0x10FFFF)
_SURROGATES = range(0xD800, 0xE000)


def other_spellings(
    folder: str,
    name: str,
    present: Callable[[str], bool],
    between: Callable[[str, str], bool] | None = None,
) -> Iterator[str]:
    """Yield every text that begins with ``folder``, goes on with what folds like ``name``, and is present.

    ``present`` tells whether any path begins with a text, ``between`` whether any comes after one text and
    not after another, which saves asking for each character that counts for nothing. ``name`` itself is not
    yielded.
    """
    folded = fold(name)
    pending = [(folder, unicodedata.normalize("NFD", folded))]
    seen = set(pending)
    while pending:
        text, rest = pending.pop()
        if not rest:
            found = text[len(folder) :]
            # The steps allow for a little more than what folds alike.
            if found and found != name and fold(found) == folded:
                yield text
        silent = (*_silent(text, between), *(() if rest else _DROPPED))
        for char, decomposed in (*_steps(rest), *((one, "") for one in silent)):
            left = _without(rest, decomposed)
            if left is None or (text + char, left) in seen or not present(text + char):
                continue
            seen.add((text + char, left))
            pending.append((text + char, left))


def _silent(text: str, between: Callable[[str, str], bool] | None) -> Iterator[str]:
    """Yield the characters that count for nothing and may come next."""
    for group in (IGNORED[:-1], IGNORED[-1]):
        if between is None or between(text + group[0], text + group[-1] + _HIGHEST):
            yield from group


def _steps(rest: str) -> Iterator[tuple[str, str]]:
    """Yield the characters that may come next, and what they fold to, decomposed."""
    sources = _sources()
    for char in rest:
        yield char, char
        yield from sources.get(char, ())
        # Marks on one letter come in any order; what stands behind them may be one, too (U+0345).
        if not unicodedata.combining(char):
            break


def _without(rest: str, decomposed: str) -> str | None:
    for char in decomposed:
        place = rest.find(char)
        if place < 0 or not all(map(unicodedata.combining, rest[:place])):
            return None
        rest = rest[:place] + rest[place + 1 :]
    return rest


@cache
def _sources() -> Mapping[str, list[tuple[str, str]]]:
    """Return, by its first character, every decomposed fold of one character that is not that itself."""
    found: dict[str, list[tuple[str, str]]] = {}
    for start in range(0, 0x110000, _BLOCK):
        if start in _SURROGATES:
            continue
        block = "".join(map(chr, range(start, start + _BLOCK)))
        if block.casefold() == block and unicodedata.is_normalized("NFD", block):
            continue
        for char in block:
            decomposed = unicodedata.normalize("NFD", fold_letters(char))
            if decomposed != char:
                found.setdefault(decomposed[0], []).append((char, decomposed))
    return found
