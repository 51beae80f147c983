"""The two kinds of error that a step may raise. Modules derive their own named errors from these.

This module knows nothing of Prefect: flows decide what a permanent or a passing error does to a run.
"""


class ReelmillError(Exception):
    """Base of every error that reelmill raises on purpose; its text is one sentence that says what to do."""


class PermanentError(ReelmillError):
    """Trying again cannot help (bad request, unreadable video, unknown model): the job fails at once."""


class PassingError(ReelmillError):
    """Trying again may help (store or network out of reach): tried again with back-off, then reported."""
