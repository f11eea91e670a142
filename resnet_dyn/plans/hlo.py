"""A compiled program read back from XLA's text: computations, instructions, shapes in memory.

Only what costs are made of (`costs`): the text of an optimised module, as `compiled.as_text()`
gives it, for any backend. Where a shape has tiles, as on a TPU, its bytes are those of whole tiles.
"""

import math
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

MAIN = 0  # the memory of the device; others are on the chip


class Shape(NamedTuple):
    """An array in memory."""

    dtype: str
    dims: tuple[int, ...]
    order: tuple[int, ...] = ()  # the axes, the one whose values are neighbours first
    tile: tuple[int, ...] = ()  # sizes that the last of them are filled up to multiples of
    space: int = MAIN

    @property
    def elements(self) -> int:
        """How many values it has."""
        return math.prod(self.dims)

    @property
    def itemsize(self) -> float:
        """Bytes of a value."""
        bits = re.search(r'\d+', self.dtype)
        return int(bits[0]) / 8 if bits else {'pred': 1}.get(self.dtype, 0)

    @property
    def bytes(self) -> float:
        """Its bytes, what fills up tiles too."""
        axes = list(self.order or reversed(range(len(self.dims))))
        sizes = [self.dims[axis] for axis in axes]
        for place, step in enumerate(reversed(self.tile)):
            if place < len(sizes):
                sizes[place] = -(-sizes[place] // step) * step
            else:
                sizes.append(step)
        return math.prod(sizes) * self.itemsize


class Instruction(NamedTuple):
    """One line: %name = shapes opcode(operands), attributes."""

    name: str
    shapes: tuple[Shape, ...]  # one, or those of a tuple
    opcode: str
    operands: tuple[str, ...]
    literal: str  # what stands between the brackets
    attributes: str

    def attribute(self, name: str) -> str:
        """The word or {group} behind `name=`, '' where there is none."""
        found = re.search(rf'\b{name}=(\{{[^{{}}]*\}}|[^\s,]+)', self.attributes)
        return found[1] if found else ''

    def called(self, *names: str) -> list[str]:
        """The computations that attributes of these names give."""
        return re.findall(r'[\w.\-]+', ' '.join(map(self.attribute, names)))


class Computation(NamedTuple):
    """Instructions by name, in their order; the last is what it gives."""

    name: str
    instructions: Mapping[str, Instruction]
    root: Instruction

    def parameters(self) -> dict[int, Instruction]:
        """Its parameters by number."""
        every = self.instructions.values()
        return {int(one.literal): one for one in every if one.opcode == 'parameter'}

    def users(self, name: str) -> Iterator[Instruction]:
        """What takes a value as an operand."""
        return (one for one in self.instructions.values() if name in one.operands)


class Module(NamedTuple):
    """A program; `partitions` devices run it together."""

    computations: Mapping[str, Computation]
    entry: Computation
    partitions: int


def parse(text: str) -> Module:
    """The module of an optimised program's text; ValueError where it is none."""
    partitions = re.search(r'\bnum_partitions=(\d+)', text.partition('\n')[0])
    computations, entry, lines, head = {}, None, None, None
    for line in text.splitlines():
        opening = _OPENING.match(line)
        if opening:
            head, lines = opening, []
        elif line.startswith('}') and head is not None:
            name = head['name']
            computations[name] = _computation(name, lines)
            entry = computations[name] if head['entry'] else entry
            head = None
        elif head is not None:
            lines.append(line)
    if entry is None:
        raise ValueError('this is no text of a compiled program: it has no ENTRY')
    return Module(computations, entry, int(partitions[1]) if partitions else 1)


_OPENING = re.compile(r'(?P<entry>ENTRY )?%?(?P<name>[\w.\-]+) \(.*\) -> .*\{$')
_LINE = re.compile(r'\s+(?P<root>ROOT )?%?(?P<name>[\w.\-]+) = ')
_SHAPE = re.compile(r'\b([a-z]\w*)\[([\d,]*)\](?:\{([^{}]*)\})?')


def _computation(name: str, lines: list[str]) -> Computation:
    instructions, root = {}, None
    for line in lines:
        line = re.sub(r'/\*.*?\*/', '', line)
        head = _LINE.match(line)
        if not head:
            continue
        kind, rest = _cut(line[head.end() :])
        opcode, _, rest = rest.strip().partition('(')
        inside, attributes = _cut('(' + rest)
        operands = tuple(re.findall(r'%([\w.\-]+)', inside))
        made = Instruction(
            head['name'], tuple(_shapes(kind)), opcode, operands, inside[1:-1], attributes
        )
        instructions[made.name] = made
        root = made if head['root'] else root
    return Computation(name, instructions, root or made)


def _cut(text: str) -> tuple[str, str]:
    """The first word, a whole (...) where it begins with one, and what follows."""
    if not text.startswith('('):
        first, _, rest = text.partition(' ')
        return first, rest
    depth = 0
    for at, letter in enumerate(text):
        depth += (letter == '(') - (letter == ')')
        if not depth:
            return text[: at + 1], text[at + 1 :]
    return text, ''


def _shapes(kind: str) -> Iterator[Shape]:
    for dtype, dims, layout in _SHAPE.findall(kind):
        order, _, rest = layout.partition(':')
        tile, space = re.search(r'T\(([\d,]+)\)', rest), re.search(r'S\((\d+)\)', rest)
        yield Shape(
            dtype,
            _numbers(dims),
            _numbers(order),
            _numbers(tile[1]) if tile else (),
            int(space[1]) if space else MAIN,
        )


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split(',') if word)
