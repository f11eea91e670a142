"""The processes that make a run together: which of them is the lead, what all know and agree on.

Process 0, the lead, decides what hangs on clocks, signals and files, and writes all that is
written; `by_lead` and `gathered` make its word, or everybody's, known to all. One process is the
usual case: each function then answers at once, and nothing of JAX's distributed runtime is used.

Everything here is collective unless it says otherwise: all processes call it in the same order. It
goes through the key-value store of JAX's coordination service, on hosts alone, so that a process
which does not come is named after a time instead of being waited for for ever.
"""

from collections.abc import Callable, Mapping
from typing import Any

from resnet_dyn import errors
from resnet_dyn.processes import exchange, words

SHORT, LONG = exchange.SHORT, exchange.LONG
doing, moved, set_limit = exchange.doing, exchange.moved, exchange.set_limit


def count() -> int:
    """How many processes there are; not collective."""
    return exchange.place().count


def index() -> int:
    """The index of this one, from 0 on; not collective."""
    return exchange.place().index


def is_lead() -> bool:
    """Whether this is the process that writes and decides; not collective."""
    return index() == 0


def gathered(value: Any, what: str) -> list[Any]:
    """The values of all processes, by index, at each of them.

    Values are trees of dicts by text, lists, arrays and what JSON can say; tuples come back as
    lists. `what` says in errors what the processes were at. Raises ProcessError, which names them,
    where processes do not come.
    """
    return [value] if count() == 1 else exchange.gathered(value, what)


def any_of(flag: bool, what: str) -> bool:
    """Whether it is so at any process."""
    return any(gathered(bool(flag), what))


def by_lead(function: Callable[[], Any], what: str) -> Any:
    """What `function()` returns at the lead, as in `gathered`; no other process calls it.

    A UserError of the lead is raised at all of them.
    """
    return _first(function if is_lead() else None, what)


def at_each(function: Callable[[], Any], what: str) -> list[Any]:
    """What `function()` returns at each process, by index, as in `gathered`.

    A UserError of one process is raised at all of them; it names the process if it is not the lead.
    """
    if count() == 1:
        return [function()]
    value, error = _tried(function)
    told = exchange.gathered({'value': value, 'error': error and _told(error)}, what)
    if error is not None:
        raise error
    for number, one in enumerate(told):
        if one['error'] is not None:
            raise _heard(one['error'], number)
    return [one['value'] for one in told]


def barrier(what: str) -> None:
    """Returns when all processes have come here."""
    gathered(None, what)


def check_same(facts: Mapping[str, Any], mend: str) -> None:
    """ProcessError at all processes where one has other facts than the lead: which, in what.

    `facts` are values that JSON can say, by name; `mend` says what to do.
    """
    if count() == 1:
        return
    everyone = gathered({'host': words.host(), **facts}, 'comparing what they were started with')
    lead = everyone[0]
    for number, one in enumerate(everyone):
        unlike = [name for name in one.keys() | lead.keys() if one.get(name) != lead.get(name)]
        if unlike := sorted(set(unlike) - {'host'}):
            said = '; '.join(
                f'{name} is {words.short(one.get(name))} there and {words.short(lead.get(name))} '
                'at process 0'
                for name in unlike
            )
            raise errors.ProcessError(
                f'process {number} of {len(everyone)} (on {one["host"]}) differs from process 0 '
                f'(on {lead["host"]}): {said}. {mend}'
            )


def _first(function: Callable[[], Any] | None, what: str) -> Any:
    if count() == 1:
        return function()
    value, error = (None, None) if function is None else _tried(function)
    told = exchange.from_lead({'value': value, 'error': error and _told(error)}, what)
    if error is not None:
        raise error
    if told['error'] is not None:
        raise _heard(told['error'], 0)
    return told['value']


def _tried(function: Callable[[], Any]) -> tuple[Any, errors.UserError | None]:
    try:
        return function(), None
    except errors.UserError as error:
        return None, error


def _told(error: errors.UserError) -> list[str]:
    return [type(error).__name__, str(error)]


def _heard(told: list[str], number: int) -> errors.UserError:
    kind, text = told
    return getattr(errors, kind)(text if number == 0 else f'process {number}: {text}')
