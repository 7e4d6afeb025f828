"""What stops a run before or during its calls, as opposed to what a run measures.

A refused or a lost call is a figure of the run (`reports.CallOutcome`); a run that cannot be made at all is this
exception.
"""

from audiohook.errors import AudiohookError


class LoadError(AudiohookError):
    """The run cannot be made, or one of its processes died. The message says what is wrong and what would help."""
