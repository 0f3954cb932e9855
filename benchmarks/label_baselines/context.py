"""medspaCy (Eyre et al. 2021): its tokenizer, sentences, sections and ConText, with their rules.

What its notebooks show: the default pipeline, a target matcher for the finding, more rules for
radiology where the default ones are of clinical notes.
"""

from collections.abc import Callable

import medspacy
from loguru import logger
from medspacy.context import ConTextRule
from medspacy.section_detection import SectionRule
from medspacy.target_matcher import TargetRule
from spacy.language import Language

from benchmarks.label_baselines import vocabulary
from benchmarks.label_baselines.vocabulary import about_the_spine, status, strongest

PIPES = (
    "medspacy_tokenizer",
    "medspacy_pyrush",
    "medspacy_target_matcher",
    "medspacy_context",
    "medspacy_sectionizer",
)
_KNOWN_OR_ASKED = {
    "reason_for_examination": ("Indication:", "Reason for exam:", "Reason for examination:"),
    "history_of_present_illness": (
        "Clinical history:", "Clinical details:", "Clinical information:", "History:", "Hx:",
    ),
    "comparison": ("Comparison:",),
    "technique": ("Technique:", "Exam:", "Examination:"),
}  # fmt: skip
_COUNTING = {"findings": ("Findings:", "Report:"), "impression": ("Impression:", "Conclusion:")}
_FORWARD = {
    "POSSIBLE_EXISTENCE": (
        "probable", "probably", "likely", "possibly", "questionable", "suspected", "suspicion of",
        "concerning for", "may represent", "could represent", "might represent", "may be",
        "could be", "cannot exclude", "can not exclude", "cannot rule out", "?",
    ),
    "HISTORICAL": ("history of",),
}  # fmt: skip
_BACKWARD = {
    "POSSIBLE_EXISTENCE": (
        "cannot be excluded", "not excluded", "is possible", "is suspected", "versus", "vs",
    ),
    "NEGATED_EXISTENCE": (
        "is not seen", "are not seen", "not seen", "not identified", "not present", "is absent",
    ),
}  # fmt: skip
# They hide the "no" inside: nothing is negated.
_PSEUDO = ("no change in", "no interval change in", "no new", "no significant change in")


def load() -> Callable[[str], str]:
    """The labeller as medspaCy has it, with PyRuSH's sentences."""
    logger.disable("PyRuSH")  # it tells of each token on standard error
    return _labeller(medspacy.load(medspacy_enable=PIPES))


def load_fast() -> Callable[[str], str]:
    """The labeller with spaCy's plain sentences: PyRuSH takes four fifths of the time."""
    nlp = medspacy.load(medspacy_enable=set(PIPES) - {"medspacy_pyrush"})
    nlp.add_pipe("sentencizer", first=True)
    return _labeller(nlp)


def _labeller(nlp: Language) -> Callable[[str], str]:
    nlp.get_pipe("medspacy_target_matcher").add(
        [
            TargetRule(kind.lower(), kind, pattern=getattr(vocabulary, kind))
            for kind in ("INTACT", "DEFORMITY", "CEMENT", "FRACTURE")
        ]
    )
    nlp.get_pipe("medspacy_context").add(
        [
            ConTextRule(literal, category, direction=direction)
            for direction, terms in (("FORWARD", _FORWARD), ("BACKWARD", _BACKWARD))
            for category, literals in terms.items()
            for literal in literals
        ]
        + [ConTextRule(literal, "PSEUDO", direction="PSEUDO") for literal in _PSEUDO]
    )
    sections = {**_KNOWN_OR_ASKED, **_COUNTING}
    nlp.get_pipe("medspacy_sectionizer").add(
        [SectionRule(title, name) for name, titles in sections.items() for title in titles]
    )

    def label(text: str) -> str:
        found = []
        for entity in nlp(text).ents:
            ignored = entity._.is_historical or entity._.is_hypothetical or entity._.is_family
            if ignored or entity._.section_category in _KNOWN_OR_ASKED:
                continue
            sentence = entity.sent
            start = entity.start_char - sentence.start_char
            end = entity.end_char - sentence.start_char
            if about_the_spine(sentence.text, entity.label_, start, end):
                negated, uncertain = entity._.is_negated, entity._.is_uncertain
                found.append(status(entity.label_, negated=negated, uncertain=uncertain))
        return strongest(found)

    return label
