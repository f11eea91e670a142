"""What a measure is: one row of the table in `reports.measures`.

    record = function(subject, effort, options)

A new measure is a module (its record, its function, its cost, its options) and one row. Flags of
`launch.analyze`, the cost that is said first, records, the picture and the columns of the closing
table follow from the row.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from resnet_dyn.analysis import effort as effort_lib
from resnet_dyn.analysis import requirements, subjects


@dataclasses.dataclass(frozen=True)
class NoOptions:
    """The options of a measure that has none."""


class Column(NamedTuple):
    """A number of the closing table: value(record) -> (S,), and the line that explains it."""

    title: str
    value: Callable[[Any], np.ndarray]
    form: str  # as in format(mean, form)
    meaning: str


class Picture(NamedTuple):
    """draw(records in the order of their steps, heading, note) -> a figure of matplotlib."""

    draw: Callable[[Sequence, str, str], Any]
    heading: str
    last_only: bool = False  # it shows the last step alone


class Measure(NamedTuple):
    """One measure. Options are a frozen dataclass of `fields.field`s, each with a default.

    Whatever a record holds by network is led by S, and its field's name ends in `_S` and the
    letters of further axes: so networks can be measured apart and put together.
    """

    record: type
    function: Callable[[Any, effort_lib.Effort, Any], NamedTuple]
    cost: Callable[[int, Any], effort_lib.Cost]  # of L and the options, for one network
    requirements: tuple[requirements.Requirement, ...]
    options: type
    picture: Picture
    columns: tuple[Column, ...]
    text: str = ''  # one line for `--help`
    examples: bool = True  # False: it looks at parameters alone
    draws: bool = False  # its numbers depend on the seed of the examples
    parts: bool = False  # its numbers depend on how many examples go at once, as draws by part do
    # (record, names) -> what a table cannot hold, such as orders of blocks, as lines for people
    lines: Callable[[Any, subjects.Names], list[str]] | None = None
