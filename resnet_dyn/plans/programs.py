"""A program compiled for a device, and what it takes there."""

import re
from typing import NamedTuple

import jax

from resnet_dyn import errors
from resnet_dyn.plans import costs

_FULL = 'RESOURCE_EXHAUSTED'


class Memory(NamedTuple):
    """Bytes on one device while a program runs."""

    arguments: int
    results: int  # less what lies in the place of donated arguments
    temporaries: int
    code: int

    @property
    def total(self) -> int:
        """All of it."""
        return sum(self)


class Program(NamedTuple):
    """What a compiled program takes on one device."""

    name: str
    memory: Memory | None  # None: more than the compiler could place
    cost: costs.Cost
    said: str = ''  # the compiler's words where it did not fit


def compiled(name: str, lowered: jax.stages.Lowered, steps: bool = False) -> Program:
    """Compiles a program and reads it; with `steps` its cost is that of one turn of its loop.

    One that the compiler cannot place in the memory comes back without `memory`, with its words.
    """
    try:
        done = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        if _FULL not in str(error):
            raise
        return Program(name, None, costs.NOTHING, errors.reason(error))
    return read(name, done.as_text(), done.memory_analysis(), steps)


def read(name: str, text: str, memory, steps: bool = False) -> Program:
    """The program of a compiled module's text and its `memory_analysis()`."""
    cost = (costs.of_step if steps else costs.of_program)(text)
    taken = Memory(
        memory.argument_size_in_bytes,
        memory.output_size_in_bytes - memory.alias_size_in_bytes,
        memory.temp_size_in_bytes,
        memory.generated_code_size_in_bytes,
    )
    return Program(name, taken, cost)


def asked(said: str) -> int | None:
    """Bytes that a compiler would need, by its words 'Used 18.30G of 15.75G hbm'; None for none."""
    found = re.search(r'[Uu]sed ([\d.]+)([KMGT]?) of [\d.]+[KMGT]? hbm', said)
    return int(float(found[1]) * 1024 ** ' KMGT'.index(found[2] or ' ')) if found else None
