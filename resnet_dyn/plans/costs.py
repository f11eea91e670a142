"""What a compiled program costs one device: operations, bytes, what it tells the others.

    cost(program) = sum over instructions,   cost(loop) = trips * cost(body)

XLA's own sums count the body of a loop once, however often it goes round. Here a loop whose length
stands in the program is counted as often as it goes round; one whose length is an argument, as the
loop over the steps of a training is, once. Of the branches of a condition the cheapest counts, so
that what is made of it is a bound. Bytes are those that go to and from the device's own memory.
"""

import collections
import itertools
import math
import re
from collections.abc import Mapping
from typing import NamedTuple

from resnet_dyn.plans import hlo, loops

_COLLECTIVES = (
    'all-reduce',
    'all-gather',
    'reduce-scatter',
    'all-to-all',
    'ragged-all-to-all',
    'collective-permute',
    'collective-broadcast',
)
_FREE = (
    'parameter',
    'constant',
    'tuple',
    'get-tuple-element',
    'bitcast',
    'after-all',
    'partition-id',
    'replica-id',
    'opt-barrier',
)
_ELEMENTWISE = re.compile(
    'abs|add|atan2|cbrt|ceil|clamp|compare|cosine|divide|erf|exponential|exponential-minus-one|'
    'floor|log|log-plus-one|logistic|maximum|minimum|multiply|negate|power|remainder|rsqrt|select|'
    'sign|sine|sqrt|subtract|tan|tanh'
)


class Collective(NamedTuple):
    """What goes between devices by one kind of collective."""

    count: float
    bytes: float  # of the arrays, on one device
    wire: float  # that one device must send, by the best algorithm


class Cost(NamedTuple):
    """Of one device."""

    products: Mapping[str, float]  # operations of convolutions and matrices, by their precision
    other: float  # all other operations of arithmetic
    bytes: float  # to and from the device's memory
    collectives: Mapping[str, Collective]
    open_loops: int  # loops of unknown length, counted once
    cycles: float  # as the compiler guesses, where it writes its guesses down; else 0

    @property
    def operations(self) -> float:
        """All operations of arithmetic."""
        return sum(self.products.values()) + self.other


NOTHING = Cost({}, 0, 0, {}, 0, 0)


def of_program(text: str) -> Cost:
    """The cost of a whole program, by its text."""
    module = hlo.parse(text)
    return _of(module, module.entry)


def of_step(text: str) -> Cost:
    """The cost of one turn of the program's outermost loop of unknown length."""
    module = hlo.parse(text)
    every = [one for one in module.entry.instructions.values() if one.opcode == 'while']
    steps = [one for one in every if loops.trips(module, module.entry, one) is None]
    if len(steps) != 1:
        return _of(module, module.entry)
    (body,) = steps[0].called('body')
    return _of(module, module.computations[body])


def _of(module: hlo.Module, here: hlo.Computation) -> Cost:
    return _sum(_one(module, here, one) for one in here.instructions.values())


def _one(module: hlo.Module, here: hlo.Computation, one: hlo.Instruction) -> Cost:
    kind = one.opcode.removesuffix('-start')
    if one.opcode in _FREE or one.opcode.endswith(('-done', '-update')):
        return NOTHING
    if kind == 'while':
        turns = loops.trips(module, here, one)
        (body,) = one.called('body')
        cost = _of(module, module.computations[body])
        if turns is None:
            return cost._replace(open_loops=cost.open_loops + 1)
        return _times(cost, turns)
    if kind == 'conditional':
        names = one.called('branch_computations', 'true_computation', 'false_computation')
        return min(
            (_of(module, module.computations[name]) for name in names),
            key=lambda cost: (cost.operations, cost.bytes),
        )
    if kind in ('call', 'async'):
        names = one.called('to_apply', 'calls', 'called_computation')
        return _sum(_of(module, module.computations[name]) for name in names)
    inside = _arithmetic(module, here, one)
    guess = re.search(r'"estimated_cycles":"(\d+)"', one.attributes)
    cycles = int(guess[1]) if guess else 0
    cost = inside._replace(bytes=_traffic(module, here, one), cycles=cycles)
    if kind in _COLLECTIVES:
        cost = cost._replace(collectives={kind: _collective(module, here, one, kind)})
    return cost


def _arithmetic(module: hlo.Module, here: hlo.Computation, one: hlo.Instruction) -> Cost:
    """The operations of an instruction, those within a fusion too."""
    if one.opcode == 'fusion':
        (name,) = one.called('calls')
        fused = module.computations[name]
        return _sum(_arithmetic(module, fused, part) for part in fused.instructions.values())
    if one.opcode in ('dot', 'convolution'):
        left, right = (here.instructions[name].shapes[0] for name in one.operands[:2])
        count = _dot(one, left) if one.opcode == 'dot' else _convolution(one, left, right)
        return NOTHING._replace(products={_precision(one, left, right): count})
    if one.opcode in ('reduce', 'reduce-window'):
        return NOTHING._replace(other=here.instructions[one.operands[0]].shapes[0].elements)
    if _ELEMENTWISE.fullmatch(one.opcode):
        return NOTHING._replace(other=one.shapes[0].elements)
    return NOTHING


def _dot(one: hlo.Instruction, left: hlo.Shape) -> float:
    axes = re.findall(r'\d+', one.attribute('lhs_contracting_dims'))
    return 2 * one.shapes[0].elements * math.prod(left.dims[int(axis)] for axis in axes)


def _convolution(one: hlo.Instruction, left: hlo.Shape, right: hlo.Shape) -> float:
    """2 x (batch x features x places of output and kernel that meet a value, not padding)."""
    lhs, rhs, out = re.fullmatch(r'(\w+)_(\w+)->(\w+)', one.attribute('dim_labels')).groups()
    window = dict(re.findall(r'(\w+)=(\S+)', one.attribute('window').strip('{}')))
    spatial = [letter for letter in lhs if letter.isdigit()]

    def option(name, default):
        words = window[name].split('x') if name in window else [default] * len(spatial)
        return [[int(number) for number in word.split('_')] for word in words]

    options = zip(
        spatial,
        option('stride', '1'),
        option('pad', '0_0'),
        option('lhs_dilate', '1'),
        option('rhs_dilate', '1'),
        strict=True,
    )
    met = 1
    for letter, (stride,), (low, _), (spread,), (reach,) in options:
        size = (left.dims[lhs.index(letter)] - 1) * spread + 1
        kernel, places = right.dims[rhs.index(letter)], one.shapes[0].dims[out.index(letter)]
        met *= sum(
            0 <= (at := o * stride + k * reach - low) < size and at % spread == 0
            for o, k in itertools.product(range(places), range(kernel))
        )
    batch = left.dims[lhs.index('b')] / int(one.attribute('batch_group_count') or 1)
    features = right.dims[rhs.index('i')] * one.shapes[0].dims[out.index('f')]
    return 2 * batch * features * met


def _precision(one: hlo.Instruction, left: hlo.Shape, right: hlo.Shape) -> str:
    """bfloat16, float32, or float32 highest: whose rate on the chip a product has."""
    wide = max(left.itemsize, right.itemsize)
    if wide <= 2:
        return 'bfloat16'
    asked = one.attribute('operand_precision')
    return 'float32 highest' if 'high' in asked or wide > 4 else 'float32'


def _traffic(module: hlo.Module, here: hlo.Computation, one: hlo.Instruction) -> float:
    """Bytes that an instruction reads from and writes to the device's memory."""
    written = one.shapes[:1] if one.opcode.endswith('-start') else one.shapes
    total = 0.0
    if one.opcode == 'fusion':
        (name,) = one.called('calls')
        fused = module.computations[name]
        inputs = fused.parameters()
        for number, operand in enumerate(one.operands):
            whole = _main(here.instructions[operand].shapes)
            total += min(whole, _read(module, fused, inputs[number].name)) if whole else 0
        return total + _written(fused, fused.root, written)
    if one.opcode in ('dynamic-slice', 'gather', 'slice'):
        source = here.instructions[one.operands[0]].shapes
        return min(_main(source), _size(written)) + _main(written)
    if one.opcode in ('dynamic-update-slice', 'scatter'):
        update = here.instructions[one.operands[1 if one.opcode != 'scatter' else 2]].shapes
        return (_main(update) + _size(update)) if _main(written) else _main(update)
    total += sum(_main(here.instructions[name].shapes) for name in one.operands)
    return total + _main(written)


def _read(module: hlo.Module, fused: hlo.Computation, name: str) -> float:
    """Bytes of a parameter that a fusion reads: of one that is cut, the parts alone."""
    whole, total = _size(fused.instructions[name].shapes), 0.0
    for user in fused.users(name):
        first = user.operands[0] == name
        if user.opcode == 'bitcast':
            total += _read(module, fused, user.name)
        elif user.opcode in ('dynamic-slice', 'slice', 'gather') and first:
            total += _size(user.shapes)
        elif user.opcode == 'fusion':
            (called,) = user.called('calls')
            inner = module.computations[called]
            inputs = inner.parameters()
            places = [number for number, operand in enumerate(user.operands) if operand == name]
            total += sum(_read(module, inner, inputs[number].name) for number in places)
        elif not (user.opcode in ('dynamic-update-slice', 'tuple') and first):
            total += whole
    return min(total, whole)


def _written(fused: hlo.Computation, root: hlo.Instruction, shapes) -> float:
    """Bytes that a fusion writes: of an array that is updated in place, the update alone."""
    if root.opcode == 'tuple' and len(root.operands) == len(shapes):
        parts = zip(root.operands, shapes, strict=True)
        return sum(_written(fused, fused.instructions[name], (shape,)) for name, shape in parts)
    if not _main(shapes):
        return 0.0
    while root.opcode == 'bitcast':
        root = fused.instructions[root.operands[0]]
    if root.opcode == 'dynamic-update-slice':
        return _size(fused.instructions[root.operands[1]].shapes)
    return _main(shapes)


def _collective(module, here, one: hlo.Instruction, kind: str) -> Collective:
    given = _logical(shape for name in one.operands for shape in here.instructions[name].shapes)
    devices = _group(module, one)
    share = (devices - 1) / devices
    wire = {
        'all-reduce': 2 * share * given,
        'all-gather': (devices - 1) * given,
        'reduce-scatter': share * given,
        'all-to-all': share * given,
        'ragged-all-to-all': share * given,
    }.get(kind, given)
    return Collective(1, given, wire)


def _group(module: hlo.Module, one: hlo.Instruction) -> int:
    """How many devices a collective joins."""
    text = one.attributes.partition('replica_groups=')[2]
    if listed := re.match(r'\{\{([\d,]+)\}', text):
        return len(listed[1].split(','))
    if counted := re.match(r'\[\d+,(\d+)\]', text):
        return int(counted[1])
    if named := re.match(r'mesh\[([^\]]*)\]\s*\{([^}]*)\}', text):
        sizes = dict(re.findall(r"'(\w+)'=(\d+)", named[1]))
        return math.prod(int(sizes[axis]) for axis in re.findall(r"'(\w+)'", named[2]))
    return module.partitions


def _main(shapes) -> float:
    return sum(shape.bytes for shape in shapes if shape.space == hlo.MAIN)


def _size(shapes) -> float:
    return sum(shape.bytes for shape in shapes)


def _logical(shapes) -> float:
    return sum(shape.elements * shape.itemsize for shape in shapes)


def _sum(parts) -> Cost:
    parts, products, collectives = list(parts), collections.Counter(), {}
    for part in parts:
        products.update(part.products)
        for kind, one in part.collectives.items():
            before = collectives.get(kind, Collective(0, 0, 0))
            collectives[kind] = Collective(*(a + b for a, b in zip(before, one, strict=True)))
    return Cost(
        dict(products),
        sum(part.other for part in parts),
        sum(part.bytes for part in parts),
        collectives,
        sum(part.open_loops for part in parts),
        sum(part.cycles for part in parts),
    )


def _times(cost: Cost, turns: int) -> Cost:
    return Cost(
        {name: turns * count for name, count in cost.products.items()},
        turns * cost.other,
        turns * cost.bytes,
        {kind: Collective(*(turns * a for a in one)) for kind, one in cost.collectives.items()},
        cost.open_loops,
        turns * cost.cycles,
    )
