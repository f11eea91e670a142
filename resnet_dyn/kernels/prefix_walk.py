"""Runs a prefix tree on a stack: depth-first in chunks, under a budget of bytes, on a mesh.

The walk carries the activations h of at most `width` new nodes of one depth, computes their
children in chunks of 1, 4, 16 or 64 nodes (one compiled program for each size and stage of the
net, however many masks or blocks there are), goes on with the deepest, and keeps the rest for
later. A deleted block is not computed; where its skip is the identity, its node *is* its parent.
Nothing is padded: as many blocks are evaluated as `Tree.evaluations` says.

On a mesh (`placement.kernel_mesh`) the tree is cut into one part for each place along the axis
`mask`; the examples of each are sharded along `data`, and where they do not divide, the first
device along it has them all. The parts never talk to one another.
"""

import collections
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from resnet_dyn import errors
from resnet_dyn.kernels import devices, prefix_programs, prefix_tree
from resnet_dyn.models import placement, transforms
from resnet_dyn.models import stack as stack_lib

SIZES = (64, 16, 4, 1)  # nodes in one compiled call
WORKSPACE = 6  # activations that computing a block needs beside its input, an estimate
OUTPUTS = 3  # of the head's outputs, how many it and the metrics take at once, an estimate
_IN_FLIGHT = 2  # results per place that may be outstanding: bounds how far the host runs ahead


class Fit(NamedTuple):
    """The chunks that fit into the memory."""

    width: int  # nodes in a chunk, at most
    bytes: int  # activations, or outputs, held at the worst moment, estimated


class Finish(NamedTuple):
    """What becomes of a sub-network's output: function(output, extra) -> a tree of arrays."""

    function: Callable[[Any, Any], Any]
    extra: Any = None


class Work(NamedTuple):
    """Nodes of one depth that are still to be computed: low..high-1 of that level."""

    depth: int
    low: int
    high: int
    parents: list[jax.Array]  # h (B, ...) of the nodes first, first + 1, ... of the level above
    first: int


class Found(NamedTuple):
    """What a chunk of N leaves gave."""

    evaluations: int  # of blocks, since the chunk before
    leaf_N: np.ndarray  # which of the tree's leaves
    results: Any  # a tree of arrays (N, ...)


class Chunk(NamedTuple):
    """A run of nodes that go through one compiled call."""

    start: int
    size: int  # one of `SIZES`

    @property
    def rows(self) -> slice:
        """Its part of all nodes."""
        return slice(self.start, self.start + self.size)


def fit(stack, inputs, tree: prefix_tree.Tree, width=None, budget=None) -> Fit:
    """The widest chunks that are worth it and fit into `budget` bytes; nothing is run.

    `inputs` are those of one device, `width` is the most nodes in a chunk, at most 64; None leaves
    it to the size of h. Raises BudgetError where chunks of one node do not fit.
    """
    shapes_T = _shapes(stack, inputs, tree)
    if width is None:
        width = devices.worth_together(max(shape.size for shape in shapes_T))
    elif width < 1:
        raise ValueError(f'width={width}: a chunk has at least 1 node')
    width = min(width, SIZES[0], tree.leaves)
    budget = devices.default_budget() if budget is None else budget
    output = sum(map(_size, jax.tree.leaves(stack_lib.output_shape(stack, inputs))))
    free = all(kind.skip is None and kind.merge is None for kind, _ in stack_lib.blocks(stack))
    while (needed := _bytes(shapes_T, output, tree, width, free)) > budget:
        if width == 1:
            raise errors.BudgetError(
                f'{stack_lib.examples(inputs)} examples need about {needed / 2**30:.2g} GiB of '
                'activations and outputs for the narrowest walk, and the budget is '
                f'{budget / 2**30:.2g} GiB: give fewer examples at once (examples_at_once, '
                '--examples_at_once) or raise the budget in bytes (budget; --memory in GiB)'
            )
        width = max(1, width // 2)
    return Fit(width, needed)


def run(
    stack: stack_lib.ResidualStack,
    inputs,
    tree: prefix_tree.Tree,
    finish: Finish,
    width: int | None = None,
    budget: int | None = None,
    mesh: Mesh | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[np.ndarray, Any]]:
    """Yields (indices, results) of the tree's sequences, in their order, as they become known.

    `results` is the tree of arrays that `finish` makes of one sub-network's output, with a leading
    axis for the indices. `progress(done, total)` counts block evaluations. Raises BudgetError
    of one device does not do, ValueError for a mesh of other axes.
    """
    inputs, stack = stack_lib.arrays(inputs), stack_lib.on_device(stack)
    examples, shards = stack_lib.examples(inputs), placement.shards(mesh)
    shards = 1 if examples % shards else shards
    mine = stack_lib.shapes_of(inputs, examples // shards)
    chosen = fit(stack, mine, tree, width, budget)
    places = _places(stack, inputs, finish, mesh, shards)
    parts = prefix_tree.split(tree, len(places))
    walks = [
        walk_part(*place, part, finish.function, chosen.width, own)
        for place, (part, own) in zip(places, parts, strict=False)
    ]
    total = sum(part.evaluations for part, _ in parts)
    order = _InOrder(tree.leaf_M, tree.leaves)
    done, waiting = 0, collections.deque()
    while walks or waiting:
        for walk in list(walks):
            if (found := next(walk, None)) is None:
                walks.remove(walk)
            else:
                waiting.append(found)
        while waiting and len(waiting) > (_IN_FLIGHT * len(places) if walks else 0):
            found = waiting.popleft()
            done += found.evaluations
            yield from order.add(found.leaf_N, jax.tree.map(np.asarray, found.results))
            if progress is not None:
                progress(done, total)


def share(progress: Callable[[int, int], None] | None, number: int, turns: int):
    """The progress of turn `number` of so many equal ones, told to that of the whole; or None."""
    if progress is None:
        return None
    return lambda done, total: progress(number * total + done, turns * total)


def walk_part(
    stack, h_0, extra, tree, function, width, own, programs=prefix_programs
) -> Iterator[Found]:
    """Walks one tree; `own` are its leaves as numbers of the whole one's.

    The stack knows the context that its inputs have, as `prefix_programs.enter` gives it.
    `programs` are what is called, `prefix_programs` or what stands in for it.
    """
    blocks = stack_lib.blocks(stack)
    head, prices = transforms.headless(stack), tree.prices
    # The last that was put here goes first, which is the deepest: a chunk's children come before
    # its brothers, so that at most one chunk waits at each depth, `width` times L arrays in all.
    # Breadth first, all nodes of a level would wait together, up to 2^l of them at depth l.
    work = [Work(0, 0, len(tree.levels[0].parent_N), [h_0], 0)]
    spent = 0
    while work:
        depth, low, high, parents, first = work.pop()
        level = tree.levels[depth]
        middle = low + _cut(prices[level.step_N[low:high]], width)
        if middle < high:
            rest = level.parent_N[middle]
            work.append(Work(depth, middle, high, parents[rest - first :], rest))
        from_N, step_N = level.parent_N[low:middle] - first, level.step_N[low:middle]
        above = [parents[i] for i in from_N]
        children = _children(blocks, tree.steps, above, step_N, width, programs)
        spent += int(prices[step_N].sum())
        del parents
        if depth + 1 < len(tree.levels):
            below = tree.levels[depth + 1].parent_N
            span = np.searchsorted(below, [low, middle])
            work.append(Work(depth + 1, *span, children, low))
            continue
        for chunk in _chunks(len(children), width):
            results = programs.finish(head, tuple(children[chunk.rows]), extra, function)
            yield Found(spent, own[low:middle][chunk.rows], results)
            spent = 0


def _cut(prices_N, width: int) -> int:
    """How many of the nodes to take: `width` that cost something, twice as many in all."""
    dear = np.cumsum(prices_N[: 2 * width] > 0)
    return max(1, int(np.searchsorted(dear, width, side='right')))


def _children(blocks, steps, parents, step_N, width, programs) -> list[jax.Array]:
    """h of each child; those that compute the same block go together, in chunks."""
    children = [None] * len(parents)
    together = collections.defaultdict(list)
    for i, number in enumerate(step_N):
        step = steps[number]
        if not step.blocks:
            children[i] = parents[i]
        elif len(step.blocks) > 1:
            side_by_side = [blocks[block] for block in step.blocks]
            children[i] = programs.parallel(side_by_side, parents[i], step.gate)
        elif step.gate == 0:
            children[i] = programs.pass_by(*blocks[step.blocks[0]], parents[i])
        else:
            together[step.blocks[0]].append((i, step.gate))
    for block, wanted in together.items():
        for chunk in _chunks(len(wanted), width):
            nodes, gates = zip(*wanted[chunk.rows], strict=True)
            hs = tuple(parents[i] for i in nodes)
            results = programs.evaluate(*blocks[block], hs, np.array(gates))
            for i, h in zip(nodes, results, strict=True):
                children[i] = h
    return children


def _chunks(number: int, width: int) -> Iterator[Chunk]:
    """Chunks that fill `number`, of sizes of `SIZES` that are at most `width`."""
    start = 0
    for size in SIZES:
        while size <= width and start + size <= number:
            yield Chunk(start, size)
            start += size


def _places(stack, inputs, finish: Finish, mesh: Mesh | None, shards: int) -> list:
    """(stack, h_0, extra) on the devices of each place along the axis `mask`."""
    if mesh is None:
        return [(*prefix_programs.enter(stack, inputs), finish.extra)]
    places = []
    for here in placement.places_of_masks(mesh, whole=shards == 1):
        net, extra = placement.place((stack, finish.extra), here, placement.WHOLE)
        images = placement.place(inputs, here, placement.EXAMPLES)
        places.append((*prefix_programs.enter(net, images), extra))
    return places


def _shapes(stack, inputs, tree) -> list[jax.ShapeDtypeStruct]:
    """The shape of h after each step of the tree, the largest where they differ."""
    before, after = stack_lib.shapes(stack, inputs)
    shapes = [before[0]]
    for level in tree.levels:
        here = [tree.steps[step] for step in np.unique(level.step_N)]
        sizes = [after[step.blocks[0]] for step in here if step.blocks]
        shapes.append(max(sizes, key=lambda shape: shape.size) if sizes else shapes[-1])
    return shapes


def _bytes(shapes_T, output: int, tree, width: int, free: bool) -> int:
    """Activations held at the worst moment: a chunk waiting at each depth, and the workspace.

    That is of a block, or of the head, whose `output` for one node has so many bytes.
    Beside its `width` nodes a chunk has as many deleted ones, which are `free` where every skip is
    the identity and nothing follows it.
    """
    held = width if free else 2 * width
    sizes = list(map(_size, shapes_T))
    waiting = sum(
        size * min(held, len(level.parent_N))
        for size, level in zip(sizes[1:], tree.levels, strict=True)
    )
    return sizes[0] + waiting + width * max(WORKSPACE * max(sizes), OUTPUTS * output)


def _size(shape: jax.ShapeDtypeStruct) -> int:
    """Bytes of an array of this shape."""
    return math.prod(shape.shape) * shape.dtype.itemsize


class _InOrder:
    """Gives results back in the order of the sequences, as soon as all before them are known."""

    def __init__(self, leaf_M: np.ndarray, leaves: int):
        self.leaf_M = leaf_M
        self.known = np.zeros(leaves, bool)
        self.results = None
        self.next = 0

    def add(self, leaves, results):
        if self.results is None:
            shape = len(self.known)
            self.results = jax.tree.map(lambda a: np.empty((shape, *a.shape[1:]), a.dtype), results)
        for whole, part in zip(
            jax.tree.leaves(self.results), jax.tree.leaves(results), strict=True
        ):
            whole[leaves] = part
        self.known[leaves] = True
        end = self.next
        while end < len(self.leaf_M) and self.known[self.leaf_M[end]]:
            end += 1
        if end > self.next:
            here = np.arange(self.next, end)
            self.next = end
            yield here, jax.tree.map(lambda a: a[self.leaf_M[here]], self.results)
