"""Which instances are screened: decided from the header alone, the first reason wins.

Vocabulary comes from the configuration. Text matches it by whole words: `LATERAL` is in `ABDOMEN
LATERAL` and not in `BILATERAL`; case and punctuation do not count; words in Chinese, Japanese or
Korean script, which is written without spaces, match anywhere in the text.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import asdict
from enum import StrEnum
from functools import lru_cache

from vfscreen.archive.header import Header
from vfscreen.config import EligibilityConfig

RULES_VERSION = 1
"""Counts up when the rules below change, so that every instance is judged again."""


class ExclusionReason(StrEnum):
    """Why an instance is not screened, in the order in which it is asked."""

    NOT_DICOM = "not_dicom"
    NOT_AN_IMAGE = "not_an_image"
    MODALITY = "modality"
    BODY_PART = "body_part"
    VIEW = "view"
    UNDER_AGE = "under_age"
    TOO_SMALL = "too_small"
    SECONDARY = "secondary"
    FOR_PROCESSING = "for_processing"
    DUPLICATE = "duplicate"
    # Not asked of a header: the file is no longer in the archive.
    VANISHED = "vanished"


def exclusion(header: Header, config: EligibilityConfig) -> ExclusionReason | None:
    """The first reason why an instance is not screened; None where it is.

    Unknown values are never filled in: the three `allow_unknown_*` keys say what lets them pass.
    An unknown modality is not CR or DX, and an unknown size is not an image.

    Duplicates (the same SOPInstanceUID again) are a matter of the whole archive, not of one
    header: `scan` finds them.
    """
    return next((reason for reason, applies in _RULES if applies(header, config)), None)


def eligibility_sha256(config: EligibilityConfig) -> str:
    """What the decision depends on besides the header; a change of it judges everything again."""
    rules = json.dumps([RULES_VERSION, asdict(config)], sort_keys=True)
    return hashlib.sha256(rules.encode()).hexdigest()


# SOP classes without pixels of their own (PS3.4 B.5): structured reports, encapsulated documents,
# presentation states, waveforms, raw data; and the DICOMDIR (PS3.10 8).
_WITHOUT_PIXELS = (
    "1.2.840.10008.5.1.4.1.1.88.",
    "1.2.840.10008.5.1.4.1.1.104.",
    "1.2.840.10008.5.1.4.1.1.11.",
    "1.2.840.10008.5.1.4.1.1.9.",
    "1.2.840.10008.5.1.4.1.1.66",
    "1.2.840.10008.1.3.10",
)


def _not_an_image(header: Header, _: EligibilityConfig) -> bool:
    return (
        not header.rows
        or not header.columns
        or (header.sop_class_uid or "").startswith(_WITHOUT_PIXELS)
    )


def _other_modality(header: Header, config: EligibilityConfig) -> bool:
    modality = (header.modality or "").upper()
    return modality not in {accepted.upper() for accepted in config.modalities}


def _other_body_part(header: Header, config: EligibilityConfig) -> bool:
    """BodyPartExamined decides where it says something, then AnatomicRegionSequence.

    A film marked CHEST is excluded even if a description says abdomen: descriptions are often the
    order's, and a study of both has a film of each. Descriptions are asked only where neither is
    given; there a match lets the film in, and no match is `unknown`.
    """
    for given in (header.body_part_examined, header.anatomic_region):
        if given is not None and not _missing(given, config):
            return not _names(given, config.body_parts)
    if any(_names(text, config.body_parts) for text in _descriptions(header)):
        return False
    return not config.allow_unknown_body_part


def _other_view(header: Header, config: EligibilityConfig) -> bool:
    """ViewPosition decides where it says something, then ViewCodeSequence, then descriptions.

    The first description that names a view decides, the film's own (series, protocol) before the
    study's. The study's description names the views of all its films: it excludes a film only if
    it names no frontal view beside the lateral or decubitus one.
    """
    for given in (header.view_position, header.view_code):
        if given is not None and not _missing(given, config):
            return _names(given, config.excluded_views)
    for text in (header.series_description, header.protocol_name):
        if text is not None:
            if _names(text, config.excluded_views):
                return True
            if _names(text, config.frontal_views):
                return False
    if header.study_description is not None:
        if _names(header.study_description, config.frontal_views):
            return False
        if _names(header.study_description, config.excluded_views):
            return True
    return not config.allow_unknown_view


def _under_age(header: Header, config: EligibilityConfig) -> bool:
    if header.patient_age_years is None:
        return not config.allow_unknown_age
    return header.patient_age_years < config.min_age_years


def _too_small(header: Header, config: EligibilityConfig) -> bool:
    return min(header.rows or 0, header.columns or 0) < config.min_short_side_px


def _secondary(header: Header, _: EligibilityConfig) -> bool:
    """Value 2 alone: DERIVED (value 1) is ordinary for DX (PS3.3 C.8.11.3.1.1)."""
    image_type = header.image_type or ()
    return len(image_type) > 1 and image_type[1].upper() == "SECONDARY"


def _for_processing(header: Header, _: EligibilityConfig) -> bool:
    return (header.presentation_intent_type or "").upper() == "FOR PROCESSING"


_Rule = Callable[[Header, EligibilityConfig], bool]
_RULES: tuple[tuple[ExclusionReason, _Rule], ...] = (
    (ExclusionReason.NOT_AN_IMAGE, _not_an_image),
    (ExclusionReason.MODALITY, _other_modality),
    (ExclusionReason.BODY_PART, _other_body_part),
    (ExclusionReason.VIEW, _other_view),
    (ExclusionReason.UNDER_AGE, _under_age),
    (ExclusionReason.TOO_SMALL, _too_small),
    (ExclusionReason.SECONDARY, _secondary),
    (ExclusionReason.FOR_PROCESSING, _for_processing),
)


def _descriptions(header: Header) -> Iterable[str]:
    texts = (header.study_description, header.series_description, header.protocol_name)
    return (text for text in texts if text is not None)


def _missing(value: str, config: EligibilityConfig) -> bool:
    """Whether a value says nothing: empty, only punctuation, or a word for `none given`."""
    words = _words(value)
    return not words.strip() or words in {_words(missing) for missing in config.missing_values}


# Runs of letters and digits of one kind: Chinese, Japanese and Korean beside Latin are two words.
_CJK = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_WORD = re.compile(rf"[{_CJK}]+|[^\W_{_CJK}]+")
_IS_CJK = re.compile(rf"[{_CJK}]")


@lru_cache(maxsize=4096)
def _words(text: str) -> str:
    """Words in one case and one width, each between single spaces."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return f" {' '.join(_WORD.findall(folded))} "


@lru_cache(maxsize=4096)
def _names(text: str, vocabulary: tuple[str, ...]) -> bool:
    """Whether one of the vocabulary's terms stands in the text, as whole words."""
    words = _words(text)
    for term in vocabulary:
        wanted = _words(term)
        if wanted.strip() and (wanted.strip() if _IS_CJK.search(wanted) else wanted) in words:
            return True
    return False
