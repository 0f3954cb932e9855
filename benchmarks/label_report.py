"""The report labellers' tables, for README.md and benchmarks/README.md.

Both hold them between the markers `reports:begin` and `reports:end` and name the results file that
they are from; `--write` puts them there from the newest one, `--check` says whether pages and
results are in step.
"""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.label_systems import SYSTEMS, VFSCREEN
from benchmarks.report import replaced

HERE = Path(__file__).parent
RESULTS = HERE / "results"
BEGIN, END = "<!-- reports:begin -->", "<!-- reports:end -->"
# (short, full), as for the films.
TARGETS = {HERE.parent / "README.md": False, HERE / "README.md": True}
SOURCE = re.compile(r"From `benchmarks/results/(reports-[^`]+)`")
REACH = "vertebral_fracture, en"
_PAGE = re.compile(f"{re.escape(BEGIN)}\n.*?{re.escape(END)}", re.DOTALL)

Figures = dict[str, Any]


def newest(folder: Path = RESULTS) -> Path | None:
    """The newest results; None where there are none."""
    return max(
        folder.glob("reports-*.json"),
        default=None,
        key=lambda path: str(json.loads(path.read_text())["made"]),
    )


def render(result: Figures, source: str, *, full: bool) -> str:
    """All tables as Markdown; `source` is the results file's name."""
    texts, machine = result["texts"], result["machine"]
    lines = [
        f"One core ({machine['processor']}), median of {result['repeats']} interleaved repeats; "
        f"{texts['mix']} reports of {texts['mix_characters']} characters on average"
        f"{', half OpenI, half phantom' if texts['openi'] else ', all phantom'}.",
        "",
        *_systems(result, full),
        "",
        *_first_and_last(result),
    ]
    if full:
        lines += ["", *_out_of_reach(result), "", *_difficulties(result), "", *_openi(result)]
        lines += ["", *_phantom(result), "", *_linearity(result)]
    missed = [target["target"] for target in result["targets"] if not target["kept"]]
    lines += ["", f"**Missed: {', '.join(missed)}.**"] if missed else []
    lines += [
        "",
        f"From `benchmarks/results/{source}`, made by `{result['command']}` in "
        f"{result['measured_s']} s at commit {machine['commit']}.",
    ]
    return "\n".join(lines) + "\n"


def _systems(result: Figures, full: bool) -> list[str]:
    held_out = "held_out" in result["systems"][VFSCREEN]
    head = ["labeller"]
    head += ["held out: status right", "held out: yes or no right"] if held_out else []
    head += ["adversarial: status right", "adversarial: yes or no right"]
    head += ["OpenI false alarms", "OpenI recall"] if result["texts"]["openi"] else []
    head += ["phantom: status right", "yes or no right"] if full else ["phantom: status right"]
    head += ["reports/s", "start-up, s"]
    lines = [f"| {' | '.join(head)} |", "|---" + "|---:" * (len(head) - 1) + "|"]
    for name, system in SYSTEMS.items():
        if name not in result["systems"]:
            lines.append(f"| {system.shown} | not installed |" + " |" * (len(head) - 2))
            continue
        found = result["systems"][name]
        reaches = [
            found[name]["groups"][REACH] for name in ("held_out", "adversarial") if name in found
        ]
        cells = [_share(at, key) for at in reaches for key in ("status_right", "positive_right")]
        if seen := found.get("openi"):
            kept = len(seen["counted"]) - len(seen["missed"])
            cells += [
                f"{seen['false_alarms'] / seen['negatives']:.1%} ({seen['false_alarms']})",
                f"{kept} of {len(seen['counted'])}",
            ]
        phantom = {**found["phantom"], "rows": found["phantom"]["studies"]}
        cells.append(_share(phantom, "status_right"))
        cells += [_share(phantom, "positive_right")] if full else []
        rates = sorted(one["reports"] / one["cpu_s"] for one in found["speed"])
        cells += [
            f"{median(rates):,.0f} ({rates[0]:,.0f}-{rates[-1]:,.0f})",
            f"{median(one['startup_s'] for one in found['speed']):.1f}",
        ]
        lines.append(f"| {system.shown} | {' | '.join(cells)} |")
    ours = result["systems"][VFSCREEN]
    before = result["first"]["sets"]["adversarial"][REACH]
    folder = "report_sets" if full else "benchmarks/report_sets"
    said = [
        "Of the English rows about vertebral fractures, which all were made for; yes is "
        "`reported`, `uncertain` or `ambiguous`.",
        f"[held_out.csv]({folder}/held_out.csv), {ours['held_out']['groups'][REACH]['rows']} such "
        "rows, was written from the same definitions by somebody who saw no rule, and is read by "
        "nobody who writes rules: it is the fair comparison."
        if held_out
        else "",
        f"[adversarial.csv]({folder}/adversarial.csv), "
        f"{ours['adversarial']['groups'][REACH]['rows']} rows, flatters vfscreen: its rules have "
        "since been written to satisfy them, the others' have not; before that its status was "
        f"right in {_share(before, 'status_right')}. Nor are the phantom's reports a fair test of "
        "vfscreen: the same people wrote both.",
    ]
    return [*lines, "", " ".join(filter(None, said))]


def _share(counts: Figures, key: str) -> str:
    return f"{counts[key] / counts['rows']:.1%}"


def _first_and_last(result: Figures) -> list[str]:
    """Rows right in every column: before there were rules for them, and now."""
    ours = result["systems"][VFSCREEN]
    lines = [
        "vfscreen's rows right in every column that is filled, before its rules were written for "
        f"them (commit {result['first']['labeller_commit']}) and now:",
        "",
        "| set | finding, language | rows | first | last | last, status alone |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for name in ("adversarial", "held_out"):
        first = result["first"]["sets"][name]
        if name not in ours:
            continue
        groups = ours[name]["groups"]
        total = {"rows": 0, "first": 0, "right": 0, "status_right": 0}
        for group, counts in groups.items():
            before = first.get(group, {}).get("right", 0)
            lines.append(_row(name, group, {**counts, "first": before}))
            for key in ("rows", "right", "status_right"):
                total[key] += counts[key]
            total["first"] += before
        lines.append(_row(name, "**all**", total))
    return lines


def _row(name: str, group: str, counts: Figures) -> str:
    shown = group.replace("_", " ")
    shares = " | ".join(_share(counts, key) for key in ("first", "right", "status_right"))
    return f"| {name.replace('_', ' ')} | {shown} | {counts['rows']} | {shares} |"


def _out_of_reach(result: Figures) -> list[str]:
    """The rows that the baselines were not made for, beside those that they were."""
    ours = result["systems"][VFSCREEN]["adversarial"]["groups"]
    lines = [
        "Status right (yes or no right), by finding and language; all but the first are out of "
        "the baselines' reach:",
        "",
        "| labeller | " + " | ".join(group.replace("_", " ") for group in ours) + " |",
        "|---" + "|---:" * len(ours) + "|",
    ]
    for name, found in result["systems"].items():
        groups = found["adversarial"]["groups"]
        cells = [
            f"{_share(groups[group], 'status_right')} ({_share(groups[group], 'positive_right')})"
            for group in ours
        ]
        lines.append(f"| {SYSTEMS[name].shown} | {' | '.join(cells)} |")
    return lines


def _difficulties(result: Figures) -> list[str]:
    ours = result["systems"][VFSCREEN]["adversarial"]
    wrong = {name: c for name, c in ours["families"].items() if c["right"] < c["rows"]}
    lines = [
        f"Of {len(ours['families'])} kinds of difficulty vfscreen has "
        f"{len(ours['families']) - len(wrong)} right in every row and column.",
    ]
    if wrong:
        lines += ["", "| difficulty | rows | right | status right |", "|---|---:|---:|---:|"]
        lines += [
            f"| {name} | {c['rows']} | {c['right']} | {c['status_right']} |"
            for name, c in wrong.items()
        ]
        ids = (f"{row} ({', '.join(columns)})" for row, columns in sorted(ours["wrong"].items()))
        lines += ["", f"Wrong: {'; '.join(ids)}."]
    return lines


def _openi(result: Figures) -> list[str]:
    seen = result["systems"][VFSCREEN].get("openi")
    if seen is None:
        return ["OpenI's reports were not there."]
    names = {"names_one": "the text names one", "": "not read"}
    alarms = "; ".join(
        f"{uid} ({alarm['report_status']}; {names.get(alarm['read'], alarm['read'])}; "
        f"`{'`, `'.join(alarm['rules'])}`)"
        for uid, alarm in seen["alarms"].items()
    )
    return [
        f"OpenI: {seen['negatives']} reports whose codes name no vertebral fracture or deformity, "
        f"{seen['positives']} whose codes do. vfscreen's false alarms, {seen['false_alarms']}, of "
        f"which {seen['truly_named']} name one in so many words: {alarms or 'none'}.",
        "",
        "Positives not counted, since no sentence of findings or impression has both a word of the "
        f"finding and one of the spine: {_named(seen['not_counted'])}. Missed: "
        f"{_named(seen['missed'])}.",
    ]


def _phantom(result: Figures) -> list[str]:
    found = result["systems"][VFSCREEN]["phantom"]
    each = ", ".join(
        f"{counts['right']} of {counts['studies']} `{status}`"
        for status, counts in sorted(found["by_status"].items())
    )
    return [
        f"Phantom, {found['studies']} studies, vfscreen's status right: {each}; whether the "
        f"history names a fracture: {found['history_right']} of {found['studies']}."
    ]


def _named(uids: list[str]) -> str:
    return ", ".join(uids) or "none"


def _linearity(result: Figures) -> list[str]:
    small, large = result["hostile_characters"]
    worst = max(result["linearity"], key=lambda one: one["growth"])
    slowest = max(result["linearity"], key=lambda one: one["s"][1])
    return [
        f"Hostile text, {len(result['linearity'])} bricks repeated: from {small:,} to {large:,} "
        f"characters the time a character grows at most {worst['growth']}-fold "
        f"(`{json.dumps(worst['brick'])}`); the slowest takes {slowest['s'][1]:.2f} s for "
        f"{large:,} characters (`{json.dumps(slowest['brick'])}`).",
    ]


def _with_tables(page: str, tables: str) -> str:
    return replaced(page, tables, BEGIN, END)


def write(source: Path) -> None:
    """Put the tables of a results file into both pages."""
    result = json.loads(source.read_text())
    for page, full in TARGETS.items():
        page.write_text(_with_tables(page.read_text(), render(result, source.name, full=full)))


def out_of_step() -> list[str]:
    """What on the pages does not agree with the results that they say they are from."""
    wrong = []
    for page, full in TARGETS.items():
        text, name = page.read_text(), page.relative_to(HERE.parent)
        found = _PAGE.search(text)
        named = SOURCE.search(found[0]) if found else None
        source = RESULTS / named[1] if named else None
        if source is None or not source.is_file():
            wrong.append(f"{name} names no results file of reports that is there")
        elif text != _with_tables(
            text, render(json.loads(source.read_text()), source.name, full=full)
        ):
            wrong.append(f"{name} is out of step with {source.name}")
    return wrong


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the newest results' tables, or put them into the pages, or check those."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="into both READMEs")
    parser.add_argument("--check", action="store_true", help="exit with 1 if they are out of step")
    options = parser.parse_args(arguments)
    if options.check:
        wrong = out_of_step()
        print("\n".join(wrong), end="\n" if wrong else "")
        return int(bool(wrong))
    source = newest()
    if source is None:
        parser.error("there are no results yet")
    if options.write:
        write(source)
    else:
        print(render(json.loads(source.read_text()), source.name, full=True), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
