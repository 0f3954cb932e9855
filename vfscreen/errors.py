"""One exception tree, one exit-code table, one enum of failure reasons.

::

    VfscreenError                 shown to the user as one sentence, without a traceback
    ├── UsageError                2    the command line asks for something that cannot be
    ├── InputError                3    configuration, checkpoint, reports or archive unusable
    │   ├── ConfigError
    │   ├── CheckpointError
    │   ├── ReportsError
    │   ├── LabelsError
    │   ├── ArchiveError
    │   └── TrainingError
    ├── TooManyFailuresError      4    the run is done, but failures exceed `max_failure_rate`
    ├── FidelityError             4    the run is done, but films differ from the plain reference
    ├── LockedError               5    another run holds the results folder
    ├── StorageError              6    disk full, read-only
    └── InterruptedRunError     130    stopped by a signal or by `--stop-at`; state is clean

Anything else is a bug: a traceback and exit code 1.
"""

from enum import StrEnum


class VfscreenError(Exception):
    """Base of every error that a user can act on; its text is one clear sentence.

    The text names what is wrong, where, and what to do. It never holds an identifier, report text
    or a path under the archive.
    """

    exit_code = 1


class UsageError(VfscreenError):
    """The command line asks for something that cannot be."""

    exit_code = 2


class InputError(VfscreenError):
    """An input of the run as a whole cannot be used."""

    exit_code = 3


class ConfigError(InputError):
    """The configuration file is not understood."""


class CheckpointError(InputError):
    """The checkpoint is of the wrong kind, damaged, or of an unknown format."""


class ReportsError(InputError):
    """The reports source cannot be read as what it claims to be."""


class LabelsError(InputError):
    """A file of labels or marks cannot be used as what it claims to be, or fits no film."""


class ArchiveError(InputError):
    """The archive cannot be reached, or holds nothing that can be read."""


class TrainingError(InputError):
    """A training cannot begin (a class without films) or go on (a loss that is not finite)."""


class TooManyFailuresError(VfscreenError):
    """The run ended, but more films or report records failed than `run.max_failure_rate` allows."""

    exit_code = 4


class FidelityError(VfscreenError):
    """The run ended, but films were decoded otherwise than the plain reference decodes them."""

    exit_code = 4


class LockedError(VfscreenError):
    """Another run holds the lock of the results folder."""

    exit_code = 5


class StorageError(VfscreenError):
    """The results folder cannot be written: disk full, read-only, no permission."""

    exit_code = 6


class InterruptedRunError(VfscreenError):
    """The run was stopped early; what it finished is safe and the next run goes on."""

    exit_code = 130


class Stage(StrEnum):
    """Where on its path an instance failed."""

    SCAN = "scan"
    DECODE = "decode"
    INFER = "infer"
    EXPLAIN = "explain"
    REPORTS = "reports"


class FailureReason(StrEnum):
    """Why an instance (or a folder, or a report record) failed. The only reasons there are."""

    UNREADABLE_FOLDER = "unreadable_folder"
    UNREADABLE_FILE = "unreadable_file"
    TRUNCATED = "truncated"
    BAD_HEADER = "bad_header"
    UNSUPPORTED_TRANSFER_SYNTAX = "unsupported_transfer_syntax"
    UNSUPPORTED_PIXELS = "unsupported_pixels"
    TOO_MANY_PIXELS = "too_many_pixels"
    CORRUPT_CODESTREAM = "corrupt_codestream"
    DIMENSIONS_DISAGREE = "dimensions_disagree"
    CONSTANT_FRAME = "constant_frame"
    BAD_VALUE_LUT = "bad_value_lut"
    CHANGED_WHILE_READING = "changed_while_reading"
    OUT_OF_MEMORY = "out_of_memory"
    DECODE_TIMEOUT = "decode_timeout"
    LOST_WORKER = "lost_worker"
    NON_FINITE_LOGIT = "non_finite_logit"
    BAD_REPORT_RECORD = "bad_report_record"

    @property
    def transient(self) -> bool:
        """Whether another night may succeed: such a failure is tried again, on three nights."""
        return self in _TRANSIENT


_TRANSIENT = frozenset(
    {
        FailureReason.UNREADABLE_FOLDER,
        FailureReason.UNREADABLE_FILE,
        FailureReason.CHANGED_WHILE_READING,
        FailureReason.OUT_OF_MEMORY,
        FailureReason.DECODE_TIMEOUT,
        FailureReason.LOST_WORKER,
    }
)
