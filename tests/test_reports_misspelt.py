"""What one slip makes of a word, and what it must leave alone."""

import pytest

from vfscreen.reports.labelling import label
from vfscreen.reports.lexicon import load
from vfscreen.reports.lexicon.misspelt import misspellings


@pytest.mark.parametrize(
    ("slip", "right"),
    [
        ("fracure", "fracture"), ("frracture", "fracture"), ("fractrue", "fracture"),
        ("froctures", "fractures"), ("vertebal", "vertebral"), ("hieght", "height"),
    ],
)  # fmt: skip
def test_a_slip_is_read_as_its_word(slip: str, right: str) -> None:
    assert load().misspelt[slip] == right


@pytest.mark.parametrize("word", ["fractures", "vertebra", "vertebrae", "reserved", "impressions"])
def test_words_of_their_own_stay(word: str) -> None:
    assert word not in load().misspelt


def test_a_slip_between_two_words_is_neither() -> None:
    table = misspellings([("", ["inferior", "interior"])], frozenset())
    assert "ineerior" not in table and table["infferior"] == "inferior"


def test_short_words_are_misspelt_as_listed_only() -> None:
    assert misspellings([("", ["wedge"]), ("wedge", ["wegde"])], frozenset()) == {"wegde": "wedge"}


def test_offsets_hold_where_a_word_is_misspelt() -> None:
    text = "Old compresion fracure of L1."
    (mention,) = label(text, load()).evidence
    assert text[mention.start : mention.end] == "compresion fracure"
