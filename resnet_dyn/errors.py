"""Errors that their reader can mend: what was given, what was expected, what to do.

A launcher prints a `UserError` as one paragraph; every other error is a bug of ours, or a misuse
of a function by its caller, and keeps its traceback. The kinds are those that code tells apart.
"""


class UserError(ValueError):
    """What the user of a launcher, or of a workdir, can mend by what the text says."""


class ConfigError(UserError):
    """A value of a config or a flag that cannot be, or that does not go with the others."""


class DataError(UserError):
    """Data that are not there, are damaged, or do not go with the networks."""


class RunError(UserError):
    """A workdir that cannot be used as it stands."""


class CheckpointError(UserError):
    """There is no checkpoint of the kind that was asked for, or it is damaged."""


class RecordError(UserError):
    """A file that is no record, or a record of another kind than was asked for."""


class AnalysisError(UserError):
    """What was asked of networks cannot be measured."""


class BudgetError(UserError):
    """Work that needs more memory than it may take."""


class PretrainedError(UserError):
    """A folder of a published network that cannot be opened, or what such a network cannot take."""


class NotFiniteError(UserError):
    """A network whose loss, logits or metrics are NaN or infinite."""


class ProcessError(UserError):
    """Of several processes that make a run one is gone, stuck, or was started otherwise."""


def reason(error: BaseException) -> str:
    """Another's error on one line, to be quoted within a message: 'BadZipFile: ...'."""
    text = ' '.join(f'{type(error).__name__}: {error}'.split()).removesuffix(':')
    return text if len(text) <= 300 else f'{text[:297]}...'
