"""Cells that a spreadsheet must take for text, on their way out and back."""

# A spreadsheet runs a cell that begins with one of these; a quote before it makes it text.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def as_text(value: str) -> str:
    """The cell that stands for this text."""
    return "'" + value if value.startswith(_FORMULA) else value


def from_text(cell: str) -> str:
    """The text that a cell made by `as_text` stands for."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_FORMULA) else cell
