"""What an adapter says of a layout: which tensors make which arrays, and what is made of them."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from resnet_dyn import errors

MOST = 10_000  # layers


@dataclasses.dataclass(frozen=True)
class Leaf:
    """One array of the network: a tensor of the file, or one a layer stacked on a leading axis.

    `shape` is that of each tensor in the file; `take` is (function, *arguments), where
    function(*arguments, tensor) is what the network has of a tensor (a view where it can be:
    transposed, or a part); None takes it as it is.
    """

    names: tuple[str, ...]
    shape: tuple[int, ...]
    take: tuple | None = None  # a function and its first arguments
    stacked: bool = False


class Layout(NamedTuple):
    """A network in the terms of its file.

    Names of tensors are those without the prefix, of which a file has one of `prefixes` or none,
    for each tensor; `renames` are (regular expression, replacement) of the names that others gave
    them. `passed_by` are regular expressions of tensors that are not needed (buffers); whatever
    else is left over is refused. `equal` are pairs of names that have to hold the same
    bytes where a file has both (tied weights).
    """

    leaves: Any  # a tree of `Leaf`
    build: Callable  # the tree with arrays for leaves -> ResidualStack
    names: Sequence[str]  # of the blocks
    prefixes: tuple[str, ...] = ()
    passed_by: tuple[str, ...] = ()
    renames: tuple[tuple[str, str], ...] = ()
    equal: tuple[tuple[str, str], ...] = ()


class Adapter(NamedTuple):
    """A row of the table of layouts.

    layout(settings, blocks, **options) -> Layout, of `settings.Settings`;
    inputs(config, array, mask) -> what the network takes.
    """

    layout: Callable
    inputs: Callable
    options: tuple[str, ...] = ()


def one(name: str, *shape: int, take: tuple | None = None) -> Leaf:
    """The tensor of that name."""
    return Leaf((name,), shape, take)


def each(name: str, count: int, *shape: int, take: tuple | None = None) -> Leaf:
    """The tensors of layers 0..count-1, stacked; `{}` in the name is the layer's number."""
    if count > MOST:
        raise errors.PretrainedError(f'config.json says {count} layers: expected at most {MOST}')
    return Leaf(tuple(name.format(i) for i in range(count)), shape, take, stacked=True)


def taken(leaf: Leaf, tensor):
    """What the network has of a tensor of the file."""
    if leaf.take is None:
        return tensor
    function, *arguments = leaf.take
    return function(*arguments, tensor)
