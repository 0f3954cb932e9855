"""How labels are judged: a set's rows, OpenI's codes, the phantom's truth, and the promises."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from benchmarks import openi, report_sets
from benchmarks.label_systems import VFSCREEN, Answer
from benchmarks.label_texts import Item

POSITIVE = frozenset({"reported", "uncertain", "ambiguous"})
STRENGTH = ("not_mentioned", "denied", "ambiguous", "uncertain", "reported")

# What issue and README promise.
MAX_FALSE_ALARMS = 0.005
MIN_OPENI_RECALL = 0.95
MIN_ADVERSARIAL = 0.98
MIN_REPORTS_PER_S = 2000

# Four times the text in at most so much more time a character; quadratic time would be 4.
LINEAR = 2.0


def positive(status: str) -> bool:
    """Whether a status says that something is or may be there."""
    return status in POSITIVE


def judged(
    name: str,
    sets: dict[str, list[Item]],
    answers: dict[str, list[Answer]],
    reports: Sequence[openi.Report],
) -> dict[str, Any]:
    """All that one system gets right and wrong."""
    whole = name == VFSCREEN
    found: dict[str, Any] = {
        "adversarial": judged_rows(sets["adversarial"], answers["adversarial"], whole),
        "phantom": judged_phantom(sets["phantom"], answers["phantom"]),
    }
    if "held_out" in sets:
        # Figures only: who writes rules must not see the rows.
        rows = judged_rows(sets["held_out"], answers["held_out"], whole)
        found["held_out"] = {"groups": rows["groups"]}
    if reports:
        found["openi"] = judged_openi(reports, answers["openi"])
    return found


def judged_rows(rows: Sequence[Item], answers: Sequence[Answer], whole: bool) -> dict[str, Any]:
    """Counts by finding and language, and by difficulty; ids of what is wrong.

    `whole` judges all filled columns, else a row is right with its status.
    """
    groups: dict[str, Counter[str]] = defaultdict(Counter)
    families: dict[str, Counter[str]] = defaultdict(Counter)
    wrong: dict[str, list[str]] = {}
    for row, answer in zip(rows, answers, strict=True):
        found = answer["report_status"]
        missed = report_sets.wrong(row, SimpleNamespace(**answer)) if whole else {}
        right = {
            "rows": True,
            "status_right": found == row["report_status"],
            "positive_right": positive(found) == positive(row["report_status"]),
        }
        if whole:
            right["right"] = not missed
            if missed:
                wrong[row["id"]] = sorted(missed)
        for counts in (
            groups[f"{row['finding']}, {row['language']}"],
            families[row["difficulty"]],
        ):
            counts.update({name: int(value) for name, value in right.items()})
    return {
        "groups": {name: dict(counts) for name, counts in groups.items()},
        "families": {name: dict(counts) for name, counts in sorted(families.items())},
        "wrong": wrong,
    }


def judged_openi(reports: Sequence[openi.Report], answers: Sequence[Answer]) -> dict[str, Any]:
    """False alarms among reports without a code, and recall where the text still says so."""
    read = openi.read()
    both = list(zip(reports, answers, strict=True))
    alarms = {
        report.uid: {
            "report_status": answer["report_status"],
            "rules": _rules(answer),
            "read": read.get(report.uid, ("", ""))[0],
        }
        for report, answer in both
        if not report.fractured and positive(answer["report_status"])
    }
    counted = [
        (report, answer) for report, answer in both if report.fractured and _is_counted(report)
    ]
    return {
        "negatives": sum(not report.fractured for report in reports),
        "false_alarms": len(alarms),
        "truly_named": sum(alarm["read"] == "names_one" for alarm in alarms.values()),
        "alarms": alarms,
        "positives": sum(report.fractured for report in reports),
        "counted": [report.uid for report, _ in counted],
        "not_counted": [r.uid for r in reports if r.fractured and not _is_counted(r)],
        "missed": [
            report.uid for report, answer in counted if not positive(answer["report_status"])
        ],
    }


def _is_counted(report: openi.Report) -> bool:
    return report.says_so and openi.read().get(report.uid, ("", ""))[0] != "says_none"


def _rules(answer: Answer) -> list[str]:
    """Which rules made an alarm; never the text."""
    counting = ("affirmed", "uncertain")
    return sorted({e["rule_id"] for e in answer.get("evidence", ()) if e["assertion"] in counting})


def judged_phantom(items: Sequence[Item], answers: Sequence[Answer]) -> dict[str, Any]:
    """Studies: the strongest of their reports against what was to be said."""
    heard: dict[int, list[Answer]] = defaultdict(list)
    truth = {item["study"]: item for item in items}
    for item, answer in zip(items, answers, strict=True):
        heard[item["study"]].append(answer)
    counts: Counter[str] = Counter()
    by_status: dict[str, Counter[str]] = defaultdict(Counter)
    for study, said in heard.items():
        status = max((a["report_status"] for a in said), key=STRENGTH.index)
        wanted = truth[study]["truth"]
        counts["studies"] += 1
        counts["status_right"] += status == wanted
        counts["positive_right"] += positive(status) == positive(wanted)
        if "history" in said[0]:
            known = any(answer["history"] for answer in said)
            counts["history_right"] += known == truth[study]["known"]
        by_status[wanted].update({"studies": 1, "right": int(status == wanted)})
    return {**counts, "by_status": {name: dict(value) for name, value in by_status.items()}}


def targets(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """Each promise, what was found, and whether it is kept; what was not measured is left out."""
    ours = figures["systems"][VFSCREEN]
    groups = ours["adversarial"]["groups"].values()
    rows, right = sum(g["rows"] for g in groups), sum(g["right"] for g in groups)
    rates = sorted(one["reports"] / one["cpu_s"] for one in ours["speed"])
    growth = max(one["growth"] for one in figures["linearity"])
    found = [
        ("adversarial rows right in all columns", right / rows, ">=", MIN_ADVERSARIAL),
        ("reports/s on one core", rates[len(rates) // 2], ">=", MIN_REPORTS_PER_S),
        ("growth of time a character on hostile text", growth, "<=", LINEAR),
    ]
    if "openi" in ours:
        seen = ours["openi"]
        recall = 1 - len(seen["missed"]) / len(seen["counted"])
        found += [
            (
                "OpenI false alarms",
                seen["false_alarms"] / seen["negatives"],
                "<=",
                MAX_FALSE_ALARMS,
            ),
            ("OpenI recall", recall, ">=", MIN_OPENI_RECALL),
        ]
    return [
        {
            "target": name,
            "found": round(value, 4),
            "wanted": f"{sign} {bound}",
            "kept": value >= bound if sign == ">=" else value <= bound,
        }
        for name, value, sign, bound in found
    ]
