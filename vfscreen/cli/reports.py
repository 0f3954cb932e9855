"""`reports`: reading them into the results folder, and saying how one is read."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from vfscreen.cli.options import (
    ConfigOption,
    Format,
    IdentifiersOption,
    ResultsOption,
    load_config,
    log_to_stderr,
)
from vfscreen.errors import UsageError


class Language(StrEnum):
    """Of a report; `auto` tells by its words."""

    AUTO = "auto"
    EN = "en"
    ZH_HANT = "zh-Hant"
    ES = "es"


class ExplanationFormat(StrEnum):
    """For a person, or for a program."""

    TEXT = "text"
    JSON = "json"


def reports_import(
    source: Annotated[
        Path,
        typer.Argument(
            help="A file, or a folder of any mix: CSV, TSV, Parquet, JSON Lines, HL7 v2, FHIR, "
            "DICOM SR, text files named by accession number.",
            show_default=False,
        ),
    ],
    results: ResultsOption,
    config: ConfigOption = None,
) -> None:
    """Read and label reports into the results folder; what is there already stays as it is."""
    log_to_stderr()
    from vfscreen.cli.tables import print_reports
    from vfscreen.jobs.reports import run_import

    print_reports(run_import(source, results, load_config(config)))


def reports_unmatched(
    results: ResultsOption,
    show_identifiers: IdentifiersOption = False,
    format: Annotated[Format, typer.Option(help="How to print.")] = Format.TABLE,
) -> None:
    """Reports that belong to no study of the archive, by reason; with identifiers, one by one."""
    from vfscreen.cli.answers import print_unmatched
    from vfscreen.jobs.matching import unmatched_reports

    rows = unmatched_reports(results, show_identifiers=show_identifiers)
    print_unmatched(rows, format.value, listed=show_identifiers)


def reports_explain(
    finding: Annotated[
        str, typer.Option(help="The finding that is looked for.")
    ] = "vertebral_fracture",
    language: Annotated[Language, typer.Option(help="Of the report.")] = Language.AUTO,
    lexicon: Annotated[
        Path | None,
        typer.Option(help="Read with this lexicon file instead.", show_default=False),
    ] = None,
    format: Annotated[ExplanationFormat, typer.Option(help="Output.")] = ExplanationFormat.TEXT,
) -> None:
    """Show what is read of a report, given on standard input, and why.

    Letters under the words say what they were read as. Nothing is stored.
    """
    from vfscreen.cli.reading import print_explanation
    from vfscreen.reports.explaining import explain
    from vfscreen.reports.lexicon import load

    wanted = None if language is Language.AUTO else (language.value,)
    rules = load(lexicon) if lexicon else load(finding=finding, languages=wanted)
    text = _standard_input()
    print_explanation(text, explain(text, rules), format.value)


def _standard_input() -> str:
    if sys.stdin.isatty():
        typer.echo("Paste the report, then press Ctrl-D on a line of its own.", err=True)
    try:
        text = sys.stdin.buffer.read().decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"The text on standard input is not UTF-8 (byte {error.start + 1:,}). "
            "Convert it, as with `iconv -f big5 -t utf-8`."
        ) from None
    if not text.strip():
        raise UsageError(
            "There is no text on standard input: `vfscreen reports explain < report.txt`."
        )
    return text


def reports_check_lexicon(
    file: Annotated[Path, typer.Argument(help="A lexicon file.", show_default=False)],
) -> None:
    """Say whether a lexicon of your own is understood; if not, which line of it is not."""
    from vfscreen.reports.lexicon import load

    rules = load(file)
    typer.echo(
        f"{file} reads {rules.finding} in {rules.language}, by {len(rules.vocabulary):,} words."
    )


def register(app: typer.Typer) -> None:
    """Add these commands."""
    reports = typer.Typer(no_args_is_help=True, help="Radiology reports.")
    reports.command("import")(reports_import)
    reports.command("unmatched")(reports_unmatched)
    reports.command("explain")(reports_explain)
    reports.command("check-lexicon")(reports_check_lexicon)
    app.add_typer(reports, name="reports")
