"""The generated pages of docs/: `python -m vfscreen.cli.reference` writes them; a test compares."""

from pathlib import Path
from typing import TYPE_CHECKING

from vfscreen import config_file
from vfscreen.results.schemas import FOLDERS
from vfscreen.results.sql import MEASURES, VIEWS, query

if TYPE_CHECKING:
    import pyarrow as pa

DOCS = Path(__file__).parents[2] / "docs"

_CONFIGURATION = """\
# Configuration

One file, `vfscreen.toml`, serves all commands: the one named by `--config` or `VFSCREEN_CONFIG`,
else the one in the current folder, else the defaults below. An unknown key is refused. Generated
from `vfscreen/config.py`.

"""


def configuration() -> str:
    """docs/configuration.md."""
    return _CONFIGURATION + config_file.reference()


def commands() -> str:
    """docs/commands.md: the help of every command, as it is printed."""
    from typer.testing import CliRunner

    from vfscreen.cli.main import app

    def helped(*words: str) -> str:
        answer = CliRunner().invoke(
            app, [*words, "--help"], prog_name="vfscreen", env={"COLUMNS": "88", "TERM": "dumb"}
        )
        return f"```\n{answer.stdout.rstrip()}\n```\n"

    lines = ["# Commands", "", "Generated from `--help`.", "", helped()]
    for words in command_names():
        lines += [f"## vfscreen {' '.join(words)}", "", helped(*words)]
    return "\n".join(lines)


def command_names() -> list[tuple[str, ...]]:
    """Every command, groups spelt out."""
    from vfscreen.cli.main import app

    names: list[tuple[str, ...]] = [(_name(c),) for c in app.registered_commands]
    for group in app.registered_groups:
        assert group.typer_instance is not None
        names += [(str(group.name), _name(c)) for c in group.typer_instance.registered_commands]
    return sorted(names)


def _name(command: object) -> str:
    name = getattr(command, "name", None)
    return str(name or command.callback.__name__)  # type: ignore[attr-defined]


_RESULTS = """\
# The results folder

```
RESULTS/
  catalog.duckdb     read-only views over the Parquet below, for anyone with a DuckDB client
  worklist.html      the list with films, heatmaps and reports, in one file
  manifest/ predictions/ failures/ reports/ report_labels/ checkpoints/ flags/ reviews/ settings/
                     Parquet parts, never rewritten
  heatmaps/          PNG, only for studies inside the list's capacity, and parts about them
  runs/<run_id>.json the ledger of each run
```

It holds patients' identifiers and report text, and is the only place that does: folders 0750 and
files 0640 with `run.group`, 0700 and 0600 without one. Logs, ledgers and failure messages hold
counts, reason codes and keyed hashes.

`vfscreen sql "select * from flagged limit 5"` asks it; so does any DuckDB client:
`duckdb -readonly RESULTS/catalog.duckdb`. Query while a run writes: a reader keeps the state that
it opened. Generated from `sql/` and `vfscreen/results/schemas.py`.

"""


def results() -> str:
    """docs/results.md: the views with their meaning, and the columns of the parts."""
    lines = [_RESULTS + "## Views", ""]
    for name in VIEWS:
        lines += [f"**`{name}`** {_about(name)}", ""]
    lines += [
        "## Measures",
        "",
        "`vfscreen measures NAME` answers these, and two of the views above.",
        "",
    ]
    lines += [f"**`{name}`** {_about(name)}" + "\n" for name in MEASURES if name not in VIEWS]
    lines += ["## Columns of the parts", ""]
    for folder, schema in FOLDERS.items():
        lines += [f"### {folder}", "", "| column | type | always there |", "|---|---|---|"]
        lines += [f"| `{f.name}` | {_type(f)} | {'no' if f.nullable else 'yes'} |" for f in schema]
        lines.append("")
    return "\n".join(lines)


def _about(name: str) -> str:
    """All that the comments of `sql/<name>.sql` say."""
    said = (line for line in query(name).splitlines() if line.startswith("--"))
    return " ".join(line.removeprefix("--").strip() for line in said)


def _type(field: "pa.Field") -> str:
    text = str(field.type)
    return "list of structs" if text.startswith("list<element: struct") else text.replace("|", "/")


PAGES = {"configuration.md": configuration, "commands.md": commands, "results.md": results}


def main() -> None:
    """Write the generated pages."""
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
