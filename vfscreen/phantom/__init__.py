"""The synthetic archive: anatomy, films, reports."""
