"""The status of a report in one vocabulary, whatever its source calls it."""

from functools import lru_cache

from vfscreen.errors import ConfigError

PRELIMINARY, FINAL, ADDENDUM = "preliminary", "final", "addendum"
CORRECTED, CANCELLED = "corrected", "cancelled"
NORMAL = (PRELIMINARY, FINAL, ADDENDUM, CORRECTED, CANCELLED)

STATUSES = {
    # HL7 v2 tables 0123 (OBR-25) and 0085 (OBX-11), by which R is "stored, not yet verified", U "is
    # final now", D "deleted", W "posted as wrong". A is "partial results" in the one and "amended"
    # in the other; radiology systems send it with addenda.
    "o": PRELIMINARY, "i": PRELIMINARY, "s": PRELIMINARY, "p": PRELIMINARY, "r": PRELIMINARY,
    "f": FINAL, "u": FINAL,
    "a": ADDENDUM,
    "c": CORRECTED,
    "x": CANCELLED, "d": CANCELLED, "w": CANCELLED,
    # FHIR R4 diagnostic-report-status.
    "registered": PRELIMINARY, "partial": PRELIMINARY, "preliminary": PRELIMINARY,
    "final": FINAL,
    "amended": CORRECTED, "corrected": CORRECTED,
    "appended": ADDENDUM,
    "cancelled": CANCELLED, "entered-in-error": CANCELLED,
    # DICOM SR: PreliminaryFlag, else CompletionFlag and VerificationFlag.
    "partial unverified": PRELIMINARY, "partial verified": PRELIMINARY,
    "complete unverified": PRELIMINARY, "complete verified": FINAL,
    # What RIS exports write.
    "prelim": PRELIMINARY, "draft": PRELIMINARY, "dictated": PRELIMINARY,
    "transcribed": PRELIMINARY, "unverified": PRELIMINARY, "unsigned": PRELIMINARY,
    "wet read": PRELIMINARY,
    "finalized": FINAL, "finalised": FINAL, "verified": FINAL, "signed": FINAL, "approved": FINAL,
    "complete": FINAL, "completed": FINAL, "authorised": FINAL, "authorized": FINAL,
    "addendum": ADDENDUM, "addended": ADDENDUM, "add": ADDENDUM, "supplementary": ADDENDUM,
    "correction": CORRECTED, "revised": CORRECTED, "revision": CORRECTED,
    "canceled": CANCELLED, "deleted": CANCELLED, "withdrawn": CANCELLED, "retracted": CANCELLED,
    "void": CANCELLED, "voided": CANCELLED,
}  # fmt: skip
"""What a source writes, in lower case -> what it means."""


def normal_status(word: str | None, configured: tuple[str, ...] = ()) -> str | None:
    """One of `NORMAL`, or None where the source says nothing or a word that nobody knows.

    Parameters
    ----------
    word
        As the source spells it, in any case.
    configured
        `reports.statuses`.

    Raises
    ------
    ConfigError
        `reports.statuses` names a status that is none.
    """
    if not word:
        return None
    word = " ".join(word.lower().split())
    return _configured(configured).get(word) or STATUSES.get(word)


@lru_cache(maxsize=8)
def _configured(words: tuple[str, ...]) -> dict[str, str]:
    table = {k.lower(): v.lower() for k, v in pairs("statuses", words).items()}
    for meaning in table.values():
        if meaning not in NORMAL:
            raise ConfigError(f"`reports.statuses`: a status is one of {', '.join(NORMAL)}.")
    return table


@lru_cache(maxsize=8)
def pairs(key: str, words: tuple[str, ...]) -> dict[str, str]:
    """`left=right` entries of a key of [reports].

    Raises
    ------
    ConfigError
        An entry has no equals sign, or nothing before it.
    """
    table = {}
    for entry in words:
        left, equals, right = (part.strip() for part in entry.partition("="))
        if not equals or not left:
            raise ConfigError(f"`reports.{key}`: write `left=right`, not `{entry}`.")
        table[left] = right
    return table
