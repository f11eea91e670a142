"""Chips as their makers describe them, and the time that a program needs on one at the least.

    seconds >= max(operations / rate, bytes / bandwidth, bytes sent / wire)       (the roofline)

A float32 product at XLA's own precision is computed of values rounded to bfloat16 on TPUs, and to
TF32 on GPUs; at the highest it is six products of bfloat16 on TPUs, and no tensor core's on GPUs.
"""

import re
from typing import NamedTuple

from resnet_dyn import errors, fields
from resnet_dyn.plans import costs

_CLOUD = 'https://docs.cloud.google.com/tpu/docs/'
_NVIDIA = 'https://www.nvidia.com/en-us/data-center/'


class Chip(NamedTuple):
    """Per chip; rates in operations a second, the rest in bytes and bytes a second."""

    name: str
    kinds: tuple[str, ...]  # what JAX calls it (`device_kind`)
    memory: float
    bandwidth: float  # of that memory
    bfloat16: float
    float32: float
    highest: float  # float32 of the highest precision
    wire: float  # to the other chips, one way, all links together
    clock: float | None  # of the matrix units, by their number: rate / (2 * 128^2 * units)
    source: str


def _tpu(name, kinds, memory, bandwidth, rate, wire, units, source) -> Chip:
    clock = rate / (2 * 128**2 * units) if units else None
    return Chip(name, kinds, memory, bandwidth, rate, rate, rate / 6, wire, clock, source)


# Of v4 the pages do not say what its links carry: Jouppi et al. 2023, arXiv:2304.01433, do.
TPUS = (
    _tpu('v4', ('TPU v4',), 32 * 2**30, 1200e9, 275e12, 6 * 50e9, 8, f'{_CLOUD}v4'),
    _tpu('v5e', ('TPU v5 lite', 'TPU v5e'), 16e9, 819e9, 197e12, 200e9, 4, f'{_CLOUD}v5e'),
    _tpu('v5p', ('TPU v5', 'TPU v5p'), 95e9, 2765e9, 459e12, 600e9, 8, f'{_CLOUD}v5p'),
    _tpu('v6e', ('TPU v6 lite', 'TPU v6e'), 32e9, 1638e9, 918e12, 400e9, None, f'{_CLOUD}v6e'),
)
_AXES = {'v4': 3, 'v5e': 2, 'v5p': 3, 'v6e': 2}  # of the torus that their chips are joined in
# Without sparsity, of the SXM modules.
GPUS = (
    Chip(
        'A100 80GB',
        ('NVIDIA A100-SXM4-80GB',),
        *(80e9, 2039e9, 312e12, 156e12, 19.5e12, 300e9, None),
        f'{_NVIDIA}a100/',
    ),
    Chip(
        'H100',
        ('NVIDIA H100 80GB HBM3',),
        *(80e9, 3350e9, 989e12, 494e12, 67e12, 450e9, None),
        f'{_NVIDIA}h100/',
    ),
    Chip(
        'H200',
        ('NVIDIA H200',),
        *(141e9, 4800e9, 989e12, 494e12, 67e12, 450e9, None),
        f'{_NVIDIA}h200/',
    ),
)


class Topology(NamedTuple):
    """Chips that are rented together."""

    name: str  # as in v5e:2x4
    chip: Chip
    shape: tuple[int, ...]


class Bound(NamedTuple):
    """Seconds that each part needs at the least."""

    compute: float
    memory: float
    wire: float

    @property
    def seconds(self) -> float:
        """The longest: nothing is faster."""
        return max(self)

    @property
    def limit(self) -> str:
        """Which one that is."""
        return self._fields[self.index(max(self))]


def of_kind(kind: str) -> Chip | None:
    """The chip that JAX calls so, None where it is not known."""
    return next((chip for chip in (*TPUS, *GPUS) if kind in chip.kinds), None)


def topology(text: str) -> Topology:
    """The topology that a text like v5e:2x4 names; ConfigError with the known chips for others."""
    known = {chip.name: chip for chip in TPUS}
    name, _, shape = text.partition(':')
    if name not in known:
        raise errors.ConfigError(
            f'topology={text!r}: {name!r} is none of {", ".join(known)}, as in v5e:2x4'
            f'{fields.nearest(name, known)}'
        )
    axes = _AXES[name]
    if not re.fullmatch('x'.join([r'[1-9]\d*'] * axes), shape):
        raise errors.ConfigError(
            f'topology={text!r} has no shape of {name}, whose chips are joined in {axes} '
            f'directions: give it behind a colon, as in {name}:{"x".join("224"[:axes])}'
        )
    return Topology(text, known[name], tuple(map(int, shape.split('x'))))


def bound(cost: costs.Cost, chip: Chip, share: float = 1.0) -> Bound:
    """What a program needs at the least on a device that is this `share` of a chip."""
    rates = {'bfloat16': chip.bfloat16, 'float32': chip.float32, 'float32 highest': chip.highest}
    sent = sum(collective.wire for collective in cost.collectives.values())
    return Bound(
        sum(count / rates[kind] for kind, count in cost.products.items()) / share,
        cost.bytes / chip.bandwidth / share,
        sent / chip.wire / share,
    )
