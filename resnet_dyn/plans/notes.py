"""What a plan says, for people: what runs where, a table a device, what is the least it takes."""

from collections.abc import Sequence

from resnet_dyn import config
from resnet_dyn.data import datasets
from resnet_dyn.models import placement
from resnet_dyn.plans import chips, kernels, programs, targets, training, units

_LABEL, _COLUMN = 22, 14


def of_training(plan: training.Plan) -> str:
    """The whole plan of a training."""
    cfg, networks = plan.cfg, plan.networks
    lines = [
        f'{_count(cfg.seeds, "network")}: {of_model(cfg)}',
        f'on {cfg.data.name}, batches of {cfg.train.batch_size}',
        of_target(plan.target, placement.words(plan.mesh, plan.target.devices)),
        f'a device has {_count(networks, "network")}, and of each batch '
        f'{_count(plan.examples, "example")}',
        '',
        *_table({f'step, {how}': one for how, one in plan.steps.items()}, plan.others, plan.target),
        '',
    ]
    lines += [_memory(plan, how) for how in plan.steps]
    lines += [_least(plan, how) for how in plan.steps if plan.bound(how)]
    lines += _choice(plan)
    if plan.target.chip is None:
        lines.append('Nothing is known of the rates of these devices: no least time is given.')
    return '\n'.join(lines)


def of_kernels(plan: kernels.Plan) -> str:
    """The whole plan of an analysis."""
    cfg, needed, there = plan.cfg, plan.needs, plan.target.memory
    what = {
        kernels.LESIONS: 'all single blocks deleted',
        kernels.PATHS: 'the gradient by path length, networks and examples dealt out',
    }[plan.what]
    size = 'more memory than the compiler could place' if needed is None else units.binary(needed)
    fits = needed is not None and needed <= there
    lines = [
        f'{plan.what} of {of_model(cfg)}',
        f'on {cfg.data.name}: {what}',
        of_target(plan.target, placement.words(plan.mesh, plan.target.devices)),
        f'{plan.examples:,} examples, {plan.at_once} in a call',
        '',
        *_list(plan),
        '',
        f'{"fits" if fits else "does not fit"}: all programs loaded, and what waits between calls '
        f'({units.binary(plan.held)},',
        f'estimated), take at most {size} of {units.binary(there)}',
    ]
    if plan.seconds is not None:
        networks = _count(cfg.seeds, 'network')
        lines.append(f'at best {units.seconds(plan.seconds)} for {networks}, all examples')
    if plan.target.chip is None:
        lines.append('Nothing is known of the rates of these devices: no least time is given.')
    return '\n'.join(lines)


def of_model(cfg: config.Config) -> str:
    """The network in words."""
    model = cfg.model
    return f'{model.family} of depth {model.depth}, {model.block}, norm {model.norm}, {model.dtype}'


def of_target(target: targets.Target, mesh: str) -> str:
    """The devices and their rates, with where these are from."""
    text = f'{target.name}: {mesh}; {units.binary(target.memory)} each'
    chip = target.chip
    if chip is None:
        return text
    part = '' if target.share == 1 else f' (a device is {target.share:g} of one)'
    return (
        f'{text}\na chip of {chip.name}{part}: {units.decimal(chip.memory, "B")} at '
        f'{units.decimal(chip.bandwidth, "B/s")}, '
        f'{units.decimal(chip.bfloat16, "op/s")} in bfloat16,\n'
        f'{units.decimal(chip.wire, "B/s")} to the others ({chip.source})'
    )


def _table(steps, others: Sequence[programs.Program], target: targets.Target) -> list[str]:
    """Rows of what each program takes, a column a program."""
    every = [*steps.items(), *((one.name, one) for one in others)]
    rows = [('a device', [name for name, _ in every])]

    def row(label, of_program):
        rows.append((label, [of_program(one) for _, one in every]))

    for name in programs.Memory._fields:
        row(f'memory: {name}', lambda one, name=name: _part(one, name))
    row('operations', lambda one: units.decimal(one.cost.operations))
    row('  of products', lambda one: units.decimal(sum(one.cost.products.values())))
    row('bytes moved', lambda one: units.decimal(one.cost.bytes, 'B'))
    kinds = sorted({kind for _, one in every for kind in one.cost.collectives})
    for kind in kinds:
        row(kind, lambda one, kind=kind: _collective(one, kind))
    if not kinds and len(target.devices) > 1:
        row('collectives', lambda one: 'none')
    if target.chip is not None:
        row('least time', lambda one: units.seconds(_bound(one, target).seconds))
        row('  set by', lambda one: _bound(one, target).limit)
    if any(one.cost.cycles for _, one in every):
        row("compiler's own guess", lambda one: _guess(one, target))
    return [
        label.ljust(_LABEL) + ''.join(cell.rjust(_COLUMN) for cell in cells)
        for label, cells in rows
    ]


def _list(plan: kernels.Plan) -> list[str]:
    """A line for each program of an analysis, and how often a device calls it."""
    heads = ('a call on a device', 'examples', 'memory', 'operations', 'bytes', 'least', 'calls')
    rows = [heads]
    for one, share, calls in zip(plan.programs, plan.shares, plan.calls, strict=True):
        known = plan.target.chip is not None and one.memory is not None
        rows.append(
            (
                one.name,
                f'{share:,}',
                units.binary(one.memory.total) if one.memory else 'too much',
                units.decimal(one.cost.operations),
                units.decimal(one.cost.bytes, 'B'),
                units.seconds(_bound(one, plan.target).seconds) if known else '–',
                f'{calls:,}',
            )
        )
    widths = (9, 11, 11, 10, 12, 7)
    return [
        first.ljust(20)
        + ''.join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
        for first, *cells in rows
    ]


def _part(one: programs.Program, name: str) -> str:
    return units.binary(getattr(one.memory, name)) if one.memory else 'too much'


def _collective(one: programs.Program, kind: str) -> str:
    found = one.cost.collectives.get(kind)
    return f'{found.count:.0f}, {units.decimal(found.bytes, "B")}' if found else '–'


def _bound(one: programs.Program, target: targets.Target) -> chips.Bound:
    return chips.bound(one.cost, target.chip, target.share)


def _guess(one: programs.Program, target: targets.Target) -> str:
    cycles, clock = one.cost.cycles, target.chip.clock if target.chip else None
    return units.seconds(cycles / clock) if clock else f'{units.decimal(cycles)} cycles'


def _memory(plan: training.Plan, how: str) -> str:
    needed, there = plan.needs(how), plan.target.memory
    if needed is None:
        return f'{how}: does not fit: more memory than the compiler could place'
    verdict = 'fits' if plan.fits(how) else 'does not fit'
    return (
        f'{how}: {verdict}: all programs loaded take at most {units.binary(needed)} of '
        f'{units.binary(there)}'
    )


def _least(plan: training.Plan, how: str) -> str:
    bound = plan.bound(how)
    examples = datasets.examples_of(plan.cfg.data.name)
    number = plan.cfg.seeds * plan.cfg.train.batch_size / bound.seconds
    parts = ', '.join(f'{name} {units.seconds(time)}' for name, time in bound._asdict().items())
    return (
        f'{how}: at best {units.seconds(bound.seconds)} a step ({parts}),\n'
        f'{units.decimal(number)} {examples}/s, all networks together'
    )


def _choice(plan: training.Plan) -> list[str]:
    if len(plan.steps) == 1:
        if plan.networks == 1:
            return ['one network a device: vmap and map are the same program']
        return []
    best, chosen = plan.cheapest(), plan.cfg.train.seed_axis
    if best is None:
        return []
    lines = [f'cheapest of vmap and map by that bound: {best}']
    if best != chosen:
        lines.append(f'the run would take {chosen}: give it --config.train.seed_axis={best}')
    return lines


def _count(number: int, what: str) -> str:
    return f'{number:,} {what}{"" if number == 1 else "s"}'
