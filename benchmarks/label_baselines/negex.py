"""NegEx (Chapman et al. 2001) as negspacy has it, on a blank spaCy pipeline.

The pipeline of negspacy's page: sentences, entities, `negex` with its clinical terms; entities come
from the shared vocabulary. The additions are those that its page invites to: phrases of radiology.
NegEx knows negated and not negated; it cannot say that something is uncertain.
"""

from collections.abc import Callable

import spacy
from negspacy.negation import Negex  # noqa: F401  (registers the component)
from negspacy.termsets import termset
from spacy.language import Language
from spacy.tokens import Doc
from spacy.util import filter_spans

from benchmarks.label_baselines.vocabulary import body, mentions, status, strongest

_PSEUDO = ["no change in", "no new", "not excluded", "cannot exclude", "not rule out"]
_FOLLOWING = ["not seen", "not identified", "not present", "not evident", "is absent", "are absent"]


@Language.component("vertebral_mentions")
def vertebral_mentions(doc: Doc) -> Doc:
    """Mentions about the spine as entities, named by their kind."""
    spans = []
    for sentence in doc.sents:
        for mention in mentions(sentence.text):
            start, end = sentence.start_char + mention.start, sentence.start_char + mention.end
            span = doc.char_span(start, end, label=mention.kind, alignment_mode="expand")
            if span is not None:
                spans.append(span)
    doc.ents = filter_spans(spans)
    return doc


def load() -> Callable[[str], str]:
    """The labeller."""
    terms = termset("en_clinical")
    terms.add_patterns({"pseudo_negations": _PSEUDO, "following_negations": _FOLLOWING})
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    nlp.add_pipe("vertebral_mentions")
    nlp.add_pipe("negex", config={"neg_termset": terms.get_patterns()})

    def label(text: str) -> str:
        doc = nlp(" ".join(body(text).split()))
        return strongest(
            status(entity.label_, negated=entity._.negex, uncertain=False) for entity in doc.ents
        )

    return label
