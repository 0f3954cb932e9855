"""From text to words: one pass, offsets into the original, nothing depends on case or line breaks.

Line breaks are blanks here. Dictation systems wrap lines anywhere, inside phrases too, so a line
break says nothing that can be relied on; sentences end at punctuation.
"""

import re
import unicodedata
from collections.abc import Mapping, Set
from dataclasses import dataclass

# A CJK character is a word of its own; a hyphen or slash inside a word is found in the gaps.
# Every alternative takes at least one character and none can be matched in two ways: linear.
_CJK = "\u3400-\u9fff\uf900-\ufaff"
_TOKEN = re.compile(rf"[{_CJK}]|[^\W{_CJK}]+(?:['’][^\W{_CJK}]+)?|[^\w\s\x00]")
_HYPHENS = frozenset("-\u2010\u2011")
# Marks that are never seen: writing direction, joiners, soft hyphen, byte order mark.
_INVISIBLE = frozenset("\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff") | frozenset(
    chr(c) for c in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
)
_SENTENCE_ENDS = frozenset(".!?")
_CJK_SENTENCE_ENDS = frozenset("。；")
_IS_CJK = re.compile(rf"[{_CJK}]")
_BULLETS = frozenset("•*●")
# Words that go on after an abbreviation's full stop, as in "comp. fx. of L1".
_GOES_ON = frozenset({"of", "at", "in", "involving", "to", "de", "del", "en", "por"})
_FRACTURE_ABBREVIATIONS = frozenset({"fx", "fxs", "fract", "frac"})


# A combining accent is part of its word, and then forgotten: a letter that no language writes.
_MARK = "\u02d0"


def _fold() -> dict[int, str]:
    """Each character that means the same as a plainer one: full-width forms, accented letters."""
    table = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
    for code in (*range(0xC0, 0x250), *range(0x1E00, 0x1F00)):
        base = unicodedata.normalize("NFD", chr(code))[0]
        if base.isascii():
            table[code] = base.lower()
    table |= dict.fromkeys(range(0x300, 0x370), _MARK)
    # The full-width comma parts clauses, unlike the other one; dots that number an ordinal.
    del table[ord("，")]
    return table | {ord("º"): "º", ord("°"): "º", ord("ª"): "ª", ord("．"): "."}


FOLD: Mapping[int, str] = _fold()
"""Character -> the one it is read as. One for one, so that offsets into the text hold."""


def folded(text: str, fold: Mapping[int, str] = FOLD) -> str:
    """The text in lower case and plain characters, of the same length; linear."""
    lowered = text.lower()
    if len(lowered) != len(text):  # a few letters grow in lower case; offsets must not shift
        lowered = "".join(c if len(c.lower()) != 1 else c.lower() for c in text)
    return lowered if lowered.isascii() else lowered.translate(fold)


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a text: lower case, with their place, and where sentences end.

    `ends_sentence[i]` tells that word ``i`` (a punctuation mark) is the last of its sentence.
    """

    text: str
    words: list[str]
    starts: list[int]
    ends: list[int]
    ends_sentence: list[bool]

    def gap(self, index: int) -> str:
        """What stands between word `index` and the next."""
        return self.text[self.ends[index] : self.starts[index + 1]]


def words_of(phrase: str, fold: Mapping[int, str] = FOLD) -> tuple[str, ...]:
    """The words of a lexicon term, as `tokenise` would give them in running text."""
    plain = folded(phrase, fold)
    return tuple(
        match.group().replace(_MARK, "")
        for match in _TOKEN.finditer(plain)
        if not (match.group() in _HYPHENS and _is_inside(plain, *match.span()))
    )


def _is_inside(text: str, start: int, end: int) -> bool:
    """Whether what stands here is between two letters or digits, as a hyphen in a word is."""
    return text[max(start - 1, 0) : start].isalnum() and text[end : end + 1].isalnum()


def tokenise(
    text: str, abbreviations: Set[str] = frozenset(), fold: Mapping[int, str] = FOLD
) -> Words:
    """Split a text into words; time and memory are linear in its length."""
    lowered = folded(text, fold)
    marked = _MARK in lowered
    words: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    ends_sentence: list[bool] = []
    length = len(text)
    for match in _TOKEN.finditer(lowered):
        word = match.group()
        start, end = match.span()
        final = False
        if end - start == 1 and not word.isalnum():
            before = lowered[start - 1] if start else " "
            after = lowered[end] if end < length else " "
            if word in _INVISIBLE or (word in _HYPHENS and before.isalnum() and after.isalnum()):
                continue
            if word == ".":
                final = _full_stop(words, before, lowered, end, abbreviations)
                if not final:
                    continue
            elif word in _SENTENCE_ENDS:
                # "? fracture" and "?fracture" ask; "fracture?" asks and ends its sentence.
                final = before.isalnum() and (not after.isalnum() or bool(_IS_CJK.match(after)))
            elif word in _CJK_SENTENCE_ENDS:
                final = True
            elif word == "," and _IS_CJK.match(before):
                word = "，"
            elif word in _BULLETS:
                final = True
            elif word == "#" and lowered[end : end + 2].lstrip()[:1].isdigit():
                continue  # a number sign that counts ("# 2") is no fracture ("# L2")
        elif marked:
            word = word.replace(_MARK, "") or word
        words.append(word)
        starts.append(start)
        ends.append(end)
        ends_sentence.append(final)
    return Words(text, words, starts, ends, ends_sentence)


def _full_stop(
    words: list[str], before: str, lowered: str, end: int, abbreviations: Set[str]
) -> bool:
    """Whether a dot ends a sentence: not in decimals, initials and abbreviations."""
    if not words or (before.isdigit() and lowered[end : end + 1].isdigit()):
        return False
    last = words[-1]
    if before.isspace():
        return True
    if lowered[end : end + 1] in ("ª", "º"):
        return False
    if last in _FRACTURE_ABBREVIATIONS:
        following = _TOKEN.search(lowered, end)
        return following is None or following.group() not in _GOES_ON
    return not (last in abbreviations or (len(last) == 1 and last.isalpha() and last.isascii()))


def words_in(text: str, fold: Mapping[int, str] = FOLD) -> set[str]:
    """All words of a text, without their places: enough to see that a report has none of some."""
    lowered = folded(text, fold)
    return set(_TOKEN.findall(lowered.replace(_MARK, "")))
