"""How one film's failure travels inside the imaging room."""

from vfscreen.errors import FailureReason


class FilmError(Exception):
    """One film cannot be decoded. Data, not a bug: it ends as a `DecodeFailure`.

    The message names numbers and DICOM attributes, never a value that could identify somebody.
    """

    def __init__(self, reason: FailureReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.transfer_syntax_uid: str | None = None
        """Filled in on the way out, once it is known."""
