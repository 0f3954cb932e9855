"""The pages that are generated are up to date, and every command is described."""

import pytest

from vfscreen.cli import reference


@pytest.mark.parametrize("name", sorted(reference.PAGES))
def test_generated_pages_are_up_to_date(name):
    written = (reference.DOCS / name).read_text("utf-8")
    assert written == reference.PAGES[name](), "run `make docs`"


def test_every_command_and_option_has_help():
    from vfscreen.cli.main import app

    commands = [*app.registered_commands]
    for group in app.registered_groups:
        commands += group.typer_instance.registered_commands
    for command in commands:
        assert (command.callback.__doc__ or "").strip(), command


def test_the_readme_names_every_command():
    readme = (reference.DOCS.parent / "README.md").read_text("utf-8")
    missing = [" ".join(c) for c in reference.command_names() if " ".join(c) not in readme]
    assert missing == []
