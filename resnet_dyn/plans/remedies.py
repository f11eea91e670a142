"""What would fit where a training does not: what was compiled, and estimates that say so.

    bytes(batch, dtype, networks) = arguments + temporaries * (batch / batch_0) * (bits / 32) * ...

Temporaries are taken to grow with the batch, with the bytes of a value, and, where networks go
through a step together, with their number; arguments and code with the number of networks alone.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

from resnet_dyn import errors
from resnet_dyn.models import placement
from resnet_dyn.plans import kernels, programs, training, units


class Remedy(NamedTuple):
    """A change of flags, and what is needed with it."""

    change: str
    bytes: float
    compiled: bool  # else an estimate

    def __str__(self) -> str:
        how = 'compiled' if self.compiled else 'an estimate'
        return f'{self.change} ({units.binary(self.bytes)} a chip, {how})'


def check(plan: training.Plan) -> None:
    """BudgetError, with what would fit, where the way that a run would take does not."""
    how = plan.cfg.train.seed_axis
    if plan.fits(how):
        return
    needed, there = _needed(plan), plan.target.memory
    networks = f'{plan.networks} network{"s" if plan.networks > 1 else ""} a device'
    found = [str(remedy) for remedy in remedies(plan)]
    said = next((one.said for one in (plan.steps[how], *plan.others) if one.said), '')
    raise errors.BudgetError(
        f'this training does not fit: {networks}, by {how}, need '
        f'{units.binary(needed) if needed else "more memory than the compiler could place"}, and a '
        f'device of {plan.target.name} has {units.binary(there)}'
        + (f' ({said})' if said else '')
        + '. '
        + (
            f'What would fit: {"; ".join(found)}'
            if found
            else 'Nothing that is tried here would fit'
        )
    )


def check_kernels(plan: kernels.Plan) -> None:
    """BudgetError where an analysis does not fit, with the estimate of what would."""
    needed, there = plan.needs, plan.target.memory
    if needed is not None and needed <= there:
        return
    said = next((one.said for one in plan.programs if one.said), '')
    size = units.binary(needed) if needed else 'more memory than the compiler could place'
    raise errors.BudgetError(
        f'{plan.what} of this network do not fit: {plan.at_once} examples at once need {size}, and '
        f'a device of {plan.target.name} has {units.binary(there)}{said and f" ({said})"}. Give '
        f'launch.analyze fewer: half of --examples_at_once={plan.at_once} takes about half of it '
        '(an estimate)'
    )


def remedies(plan: training.Plan) -> Iterator[Remedy]:
    """Single changes that fit, each the smallest of its kind."""
    cfg, there = plan.cfg, plan.target.memory
    for other in plan.steps:
        if other != cfg.train.seed_axis and plan.fits(other):
            yield Remedy(f'--config.train.seed_axis={other}', plan.needs(other), True)
    parts = _parts(plan)
    if parts is None:
        return
    fixed, moving = parts
    together = cfg.train.seed_axis == 'vmap'
    for half in range(1, int(math.log2(max(1, plan.examples))) + 1):
        if (needed := fixed + moving / 2**half) <= there:
            batch = cfg.train.batch_size // 2**half
            yield Remedy(f'--config.train.batch_size={batch}', needed, False)
            break
    if cfg.model.dtype == 'float32' and (needed := fixed + moving / 2) <= there:
        yield Remedy('--config.model.dtype=bfloat16', needed, False)
    for fewer in range(plan.networks - 1, 0, -1):
        share = fewer / plan.networks
        if (needed := fixed * share + moving * (share if together else 1)) <= there:
            seeds = fewer * plan.mesh.shape[placement.SEED]
            yield Remedy(f'--config.seeds={seeds}', needed, False)
            break
    for times in (2, 4, 8, 16, 32):
        networks = max(1, plan.networks / times)
        share, examples = networks / plan.networks, max(1, times / plan.networks)
        needed = fixed * share + moving * (share if together else 1) / examples
        if needed <= there and plan.examples % examples == 0:
            yield Remedy(f'{times} times as many chips', needed, False)
            break


def _needed(plan: training.Plan) -> float | None:
    """Bytes on a device, by the programs or else by the compiler's words."""
    how = plan.cfg.train.seed_axis
    every = (plan.steps[how], *plan.others)
    return plan.needs(how) or max((programs.asked(one.said) or 0 for one in every), default=0)


def _parts(plan: training.Plan) -> tuple[float, float] | None:
    """Bytes that stay, and bytes that go with the batch; None where nothing is known."""
    needed, step = _needed(plan), plan.steps[plan.cfg.train.seed_axis]
    if not needed:
        return None
    if step.memory is None:  # the compiler's number is for all: as if all went with the batch
        known = [one.memory.arguments for one in plan.others if one.memory]
        fixed = min(needed, max(known, default=0))
        return fixed, needed - fixed
    return needed - step.memory.temporaries, step.memory.temporaries
