"""What stops a run before or during its calls, as opposed to what a run measures.

A refused or a lost call is a figure of the run (`reports.CallOutcome`); a run that cannot be made at all is this
exception.
"""

import errno

from audiohook.errors import AudiohookError


class LoadError(AudiohookError):
    """The run cannot be made, or one of its processes died. The message says what is wrong and what would help."""


def error_name(code: int | None) -> str:
    """Return the name of an error number, for example ECONNREFUSED: the same words in every language of libc."""
    return errno.errorcode.get(code or 0, f"errno {code}")
