"""What radiologists dictate about a phantom film: varied styles, and what they leave out.

The text is written so that the study's reports say what was drawn (`report_status`), in the words
and habits of dictation rather than in those of any labeller.
"""

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vfscreen.phantom import phrases
from vfscreen.phantom.anatomy import Fracture, Shape
from vfscreen.phantom.mimics import Mimic, MimicFinding
from vfscreen.phantom.spine import SCREENED_LEVELS

Rng = np.random.Generator

# Chen et al. 2021 (PLoS ONE 16:e0245992): of 438 films with a fracture 204 reports said so, so 53 %
# did not. Of the rest most name it; the RCR's 2022 audit found words other than "fracture" in a
# third of the reports that see one, of which some here doubt it and a few overlook and deny it.
STATUS_WITH_FRACTURE = {
    "not_mentioned": 0.53,
    "reported": 0.30,
    "ambiguous": 0.08,
    "uncertain": 0.05,
    "denied": 0.04,
}
# An abdominal film is not read for the spine: most say nothing, some a formula, very few are wrong.
STATUS_WITHOUT_FRACTURE = {
    "not_mentioned": 0.74,
    "denied": 0.22,
    "ambiguous": 0.02,
    "uncertain": 0.01,
    "reported": 0.01,
}
# Films without a report: dictated elsewhere, lost, or not read yet.
SHARE_NO_REPORT = 0.04
# A known fracture in the indication; without one on the film it is healed, elsewhere or an error.
SHARE_HISTORY_WITH_FRACTURE = 0.12
SHARE_HISTORY_WITHOUT_FRACTURE = 0.03
# Reports that come after the list was made, and what is added to a report or corrected in it.
SHARE_LATE = 0.06
SHARE_ADDENDUM = 0.08
SHARE_CORRECTED = 0.03

_POSITIVE = ("reported", "uncertain", "ambiguous")


@dataclass(frozen=True, slots=True)
class DictatedReport:
    """One report of a study: `kind` is ``final``, ``addendum`` or ``corrected``.

    `delay_days` counts from the time at which such films are usually read.
    """

    kind: str
    delay_days: float
    text: str


@dataclass(frozen=True, slots=True)
class _Draft:
    """What a report says, before its style: `known` are the levels known of, for the history."""

    complaint: str
    known: str
    british: bool
    body: list[str]
    bones: list[str]
    mention: str


def draw_report_status(rng: Rng, fracture: bool) -> tuple[str, bool]:
    """Draw what a study's reports say, or ``no_report``, and whether its history names a VF."""
    shares = STATUS_WITH_FRACTURE if fracture else STATUS_WITHOUT_FRACTURE
    missing, historic = rng.random(2)
    status = str(rng.choice(list(shares), p=list(shares.values())))
    if missing < SHARE_NO_REPORT:
        return "no_report", False
    known = SHARE_HISTORY_WITH_FRACTURE if fracture else SHARE_HISTORY_WITHOUT_FRACTURE
    return status, bool(historic < known)


def dictate(
    rng: Rng,
    *,
    fractures: Sequence[Fracture],
    mimics: Sequence[MimicFinding],
    age_years: int | None,
    sex: str,
    status: str,
    history: bool,
) -> list[DictatedReport]:
    """Dictate the reports of one study.

    Parameters
    ----------
    rng : numpy.random.Generator
        The only source of chance.
    fractures, mimics
        What the film shows. A mention without a fracture is about a level drawn here.
    age_years, sex
        For the indication; an unknown age stays unsaid.
    status : str
        What all reports of the study together say about a vertebral fracture.
    history : bool
        Whether the indication names a known vertebral fracture.

    Returns
    -------
    list of DictatedReport
        The final report first, then an addendum or a corrected version, if any.
    """
    if not fractures and (status in _POSITIVE or history):
        fractures = (_misread(rng),)
    late = float(np.round(rng.uniform(3, 30), 2)) if rng.random() < SHARE_LATE else 0.0
    style = _STYLES[rng.integers(len(_STYLES))]
    brief = style in (_terse, _british)
    mention = _mention(rng, status, fractures, brief)
    whole = _Draft(
        complaint=_complaint(rng, age_years, sex),
        known=_level_list(rng, [f.level for f in fractures]) if history else "",
        british=style is _british,
        body=[*_some(rng, phrases.BOWEL, 1, 2), *_some(rng, phrases.SOFT, 1, 4)],
        bones=_bones(rng, mimics),
        mention=mention,
    )
    change = rng.random()
    if change >= SHARE_ADDENDUM + SHARE_CORRECTED:
        return [DictatedReport("final", late, style(rng, whole))]
    first = style(rng, replace(whole, mention="") if status in _POSITIVE else whole)
    delay = late + float(np.round(rng.uniform(0.2, 9), 2))
    if change < SHARE_CORRECTED:
        second = style(rng, whole)
        opening = _pick(rng, ("CORRECTED REPORT:\n", "Amended report.\n", ""))
        return [
            DictatedReport("final", late, first),
            DictatedReport("corrected", delay, opening + second),
        ]
    added = mention if status in _POSITIVE else _pick(rng, phrases.ADDED)
    if rng.random() < 0.4:
        return [DictatedReport("final", delay, f"{first}\n\nADDENDUM: {added}")]
    opening = _pick(rng, ("ADDENDUM: ", "Addendum:\n", "ADDENDUM REPORT\n", ""))
    return [
        DictatedReport("final", late, first),
        DictatedReport("addendum", delay, opening + added),
    ]


def _pick(rng: Rng, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]


def _some(rng: Rng, options: Sequence[str], low: int, high: int) -> list[str]:
    count = int(rng.integers(low, high + 1))
    return [options[i] for i in sorted(rng.permutation(len(options))[:count])]


def _misread(rng: Rng) -> Fracture:
    level = SCREENED_LEVELS[int(rng.integers(len(SCREENED_LEVELS)))]
    return Fracture(level=level, shape=Shape.WEDGE, grade=1, height_loss=0.2)


def _mention(rng: Rng, status: str, fractures: Sequence[Fracture], brief: bool) -> str:
    if status == "not_mentioned":
        return ""
    if status == "denied":
        return _pick(rng, phrases.DENIED)
    options: tuple[str, ...] = {
        "reported": phrases.REPORTED,
        "uncertain": phrases.UNCERTAIN,
        "ambiguous": phrases.AMBIGUOUS,
    }[status]
    if status == "reported" and brief:
        options += phrases.REPORTED_BRIEF * 2
    worst = max(fractures, key=lambda f: f.grade)
    severity = _pick(rng, phrases.SEVERITY[worst.grade])
    shape = phrases.SHAPE[Shape(worst.shape)]
    age = _pick(rng, ("old", "chronic", "age-indeterminate", "stable"))
    template = _pick(rng, options)
    text = template.format(
        levels=_level_list(rng, [f.level for f in fractures]),
        severity=severity,
        Severity=severity.capitalize(),
        shape=shape,
        Shape=shape.capitalize(),
        age=age,
        Age=age.capitalize(),
        percent=int(round(worst.height_loss * 100 / 5) * 5),
    )
    return text[0].upper() + text[1:]


def _level_list(rng: Rng, levels: Sequence[str]) -> str:
    ordered = sorted(set(levels), key=SCREENED_LEVELS.index)
    if rng.random() < 0.08:  # thoracic is dorsal in a few hospitals
        ordered = [v.replace("T", "D") for v in ordered]
    if len(ordered) == 1:
        return ordered[0]
    return ", ".join(ordered[:-1]) + " and " + ordered[-1]


def _complaint(rng: Rng, age_years: int | None, sex: str) -> str:
    complaint = _pick(rng, phrases.COMPLAINTS)
    if age_years is not None and rng.random() < 0.4:
        who = {"F": "female", "M": "male"}.get(sex, "patient")
        return f"{age_years}-year-old {who}. {complaint}"
    return complaint


def _bones(rng: Rng, mimics: Sequence[MimicFinding]) -> list[str]:
    found = [
        _pick(rng, phrases.MIMICS[Mimic(m.mimic)]).format(level=m.level)
        for m in mimics
        if rng.random() < 0.5
    ]
    return found + _some(rng, phrases.BONE_FORMULAS, 0, 2)


# ---- Styles: how it is laid out ----------------------------------------------------------------


def _indication(rng: Rng, draft: _Draft) -> str:
    if not draft.known:
        return draft.complaint
    said = (
        "Known # {levels}." if draft.british and rng.random() < 0.5 else _pick(rng, phrases.KNOWN)
    )
    return f"{draft.complaint} {said.format(levels=draft.known)}"


def _findings(draft: _Draft) -> str:
    return " ".join([*draft.body, *draft.bones, *([draft.mention] if draft.mention else [])])


def _impression(rng: Rng, draft: _Draft) -> str:
    """What the impression repeats: a sentence of the body, and the mention often."""
    repeat = bool(draft.mention) and rng.random() < 0.5
    return f"{draft.mention} {draft.body[0]}" if repeat else draft.body[0]


def _wrapped(rng: Rng, text: str) -> str:
    """Break lines where a dictation system does, or not at all."""
    width = int(rng.choice([0, 60, 72, 80]))
    if not width:
        return text
    lines = (textwrap.wrap(line, width, break_on_hyphens=False) for line in text.split("\n"))
    return "\n".join(part for line in lines for part in line or [""])


def _full(rng: Rng, draft: _Draft) -> str:
    technique = _pick(rng, ("Supine AP view of the abdomen.", "Single frontal view.", "Two views."))
    comparison = _pick(rng, ("None.", "Abdominal film of last year.", "CT of two years ago."))
    return _wrapped(
        rng,
        f"INDICATION: {_indication(rng, draft)}\n\nCOMPARISON: {comparison}\n\n"
        f"TECHNIQUE: {technique}\n\nFINDINGS:\n{_findings(draft)}\n\n"
        f"IMPRESSION:\n{_impression(rng, draft)}",
    )


def _bare_headings(rng: Rng, draft: _Draft) -> str:
    return _wrapped(
        rng,
        f"Clinical History\n{_indication(rng, draft)}\nFindings\n{_findings(draft)}\n"
        f"Conclusion\n{_impression(rng, draft)}",
    )


def _numbered(rng: Rng, draft: _Draft) -> str:
    said = [*([draft.mention] if draft.mention else []), *draft.bones, *draft.body]
    points = "\n".join(f"{n}. {sentence}" for n, sentence in enumerate(said, start=1))
    return f"Reason for exam: {_indication(rng, draft)}\n\nImpression:\n{points}"


def _template(rng: Rng, draft: _Draft) -> str:
    skeletal = " ".join([*draft.bones, *([draft.mention] if draft.mention else [])])
    return (
        f"EXAM: XR ABDOMEN 1 VIEW\nHISTORY: {_indication(rng, draft)}\n\nFINDINGS:\n"
        f"BOWEL: {draft.body[0]}\nSOFT TISSUES: {' '.join(draft.body[1:])}\n"
        f"BONES: {skeletal or 'Unremarkable.'}\n\nIMPRESSION: {_impression(rng, draft)}"
    )


def _capitals(rng: Rng, draft: _Draft) -> str:
    return _full(rng, draft).upper()


def _prose(rng: Rng, draft: _Draft) -> str:
    # Without headings only "history of" tells what is known from what is seen.
    known = f"History of {draft.known} fracture. " if draft.known else ""
    return _wrapped(rng, known + _findings(draft))


def _terse(rng: Rng, draft: _Draft) -> str:
    known = f"Hx: {_indication(rng, draft)} Report: " if draft.known else ""
    said = [draft.body[0], *([draft.mention] if draft.mention else []), *draft.bones[:1]]
    return known + " ".join(said)


def _british(rng: Rng, draft: _Draft) -> str:
    return _wrapped(
        rng, f"Clinical details: {_indication(rng, draft)}\n\nXR Abdomen: {_findings(draft)}"
    )


_STYLES: tuple[Callable[[Rng, _Draft], str], ...] = (
    _full, _bare_headings, _numbered, _template, _capitals, _prose, _terse, _british,
)  # fmt: skip
