"""How often the loops of a compiled program go round, where the program says it."""

import re

from resnet_dyn.plans import hlo


def trips(module: hlo.Module, around: hlo.Computation, loop: hlo.Instruction) -> int | None:
    """How often a loop goes round; None where the program does not say.

    Either XLA says it, or the loop counts, by a constant, from a constant to a constant.
    """
    said = re.search(r'"known_trip_count":\{"n":"(\d+)"\}', loop.attributes)
    if said:
        return int(said[1])
    (condition,), (body,) = loop.called('condition'), loop.called('body')
    test, body = module.computations[condition], module.computations[body]
    if test.root.opcode != 'compare' or 'direction=LT' not in test.root.attributes:
        return None
    index, bound = (_follow(test, name) for name in test.root.operands)
    place = _element(test, index)
    if place is None:
        return None
    start = _constant(around, _given(around, loop, place))
    stride = _stride(body, place)
    end = _constant(test, bound)
    if end is None and (where := _element(test, bound)) is not None and _kept(body, where):
        end = _constant(around, _given(around, loop, where))
    if start is None or end is None or not stride:
        return None
    return max(0, -(-(end - start) // stride))


def _follow(here: hlo.Computation, name: str) -> str:
    """The value that copies and bitcasts pass on."""
    while here.instructions[name].opcode in ('copy', 'bitcast', 'convert'):
        name = here.instructions[name].operands[0]
    return name


def _element(here: hlo.Computation, name: str) -> int | None:
    """Which element of the loop's state a value is."""
    one = here.instructions[name]
    if one.opcode != 'get-tuple-element':
        return None
    return int(one.attribute('index'))


def _given(around: hlo.Computation, loop: hlo.Instruction, place: int) -> str | None:
    """What a loop's state begins with at a place."""
    start = around.instructions[_follow(around, loop.operands[0])]
    return _follow(around, start.operands[place]) if start.opcode == 'tuple' else None


def _constant(here: hlo.Computation, name: str | None) -> int | None:
    one = here.instructions[name] if name is not None else None
    if one is None or one.opcode != 'constant' or not re.fullmatch(r'-?\d+', one.literal):
        return None
    return int(one.literal)


def _stride(body: hlo.Computation, place: int) -> int | None:
    """The constant that a body adds to an element of its state."""
    if body.root.opcode != 'tuple':
        return None
    step = body.instructions[_follow(body, body.root.operands[place])]
    if step.opcode != 'add':
        return None
    values = [_constant(body, _follow(body, name)) for name in step.operands]
    return next((value for value in values if value is not None), None)


def _kept(body: hlo.Computation, place: int) -> bool:
    """Whether a body hands an element of its state on as it is."""
    if body.root.opcode != 'tuple':
        return False
    return _element(body, _follow(body, body.root.operands[place])) == place
