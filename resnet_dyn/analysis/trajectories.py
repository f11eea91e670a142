"""Networks followed over the steps of their training: one record a step and measure, made once.

`follow` goes to each step and makes what is missing; a record that serves what is asked for
(`archive`) is left alone, so that a stopped analysis goes on where it was. A network that is not
finite becomes a row of NaN with its reason, and the others go on. `dynamics` is what the training
recorded of itself, `stages` three moments of a curve.
"""

import functools
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from resnet_dyn import errors, fields, processes, records
from resnet_dyn.analysis import archive, dealing, subjects
from resnet_dyn.analysis import effort as effort_lib
from resnet_dyn.analysis import visits as visits_lib
from resnet_dyn.training import metrics


class Source(Protocol):
    """Networks at the steps of their training: a run (`run_subjects.Run`), or others alike."""

    steps: Sequence[int]

    def facts(self, step: int, looks: bool = True) -> dict[str, Any]:
        """What numbers depend on at a step, cheap to say."""

    def subject(self, step: int, looks: bool = True) -> subjects.Subject:
        """The networks at a step, with examples where it `looks` at any."""


Request, Visit = visits_lib.Request, visits_lib.Visit


class Stages(NamedTuple):
    """A curve of S networks at the start, at an early moment and at the end of training."""

    start_S: np.ndarray
    early_S: np.ndarray
    end_S: np.ndarray


def choose(there: Sequence[int], which: str = 'all') -> list[int]:
    """The steps that `which` names: 'all', or 'last' and whole numbers with commas between them.

    Raises AnalysisError, with the steps that are there, for others.
    """
    if which in ('all', 'last'):
        return list(there) if which == 'all' else list(there[-1:])
    names = {str(step): step for step in there}
    named = names | {'last': there[-1]} if there else names
    wanted = [word.strip().replace('_', '') for word in which.split(',')]
    if missing := [word for word in wanted if word not in named]:
        raise errors.AnalysisError(
            f'there is no step {missing[0]!r}: take all, last, or some of {",".join(names)}, with '
            'commas between them'
        )
    return sorted({named[word] for word in wanted})


def follow(
    source: Source,
    requests: Mapping[str, Request],
    effort: effort_lib.Effort,
    at: Sequence[int] | None = None,
    workdir=None,
    keep: bool = True,
    network: int | None = None,
    origin: Callable[..., dict[str, Any]] = records.provenance,
    watch: Callable[[str, int, int], None] | None = None,
    deal: dealing.Deal | None = None,
) -> Iterator[Visit]:
    """Visits the steps in order, makes the records that are missing and yields each visit.

    `at` are the steps to visit, all unless given. Records are looked for in `workdir`, and kept
    there unless `keep` is False; `network` is the index of the one network that the source has.
    `origin(wall_time=, network=)` is their provenance. `watch(what, done, total)` hears how far
    long work is; `deal` says which part this process has where there are several: all then visit
    the same steps, and the lead's visits have the records. Products of matrices are of the highest
    precision. A damaged checkpoint is a visit with its damage, and the next one follows; a record
    that cannot be written is `unsaved`, and the work goes on. A UserError of a measure (memory,
    say) is raised again with the name of the measure and the step.
    """
    deal = dealing.Deal(networks=1) if deal is None else deal
    steps = list(source.steps if at is None else at)
    for first in range(0, len(steps), deal.at_once):
        group = steps[first : first + deal.at_once]
        plans = [_planned(source, requests, effort, step, workdir, network) for step in group]
        mine = plans[deal.place] if deal.place < len(plans) else None
        subject, facts = _looked_at(source, requests, mine)
        facts = dealing.shared(lambda facts=facts: facts)
        visits = [visits_lib.Making(plan, deal.of_step(i, facts)) for i, plan in enumerate(plans)]
        for name, request in requests.items():
            if not any(name in plan.due for plan in plans):
                continue
            lost = facts[deal.index]['lost']
            measure = functools.partial(_part, request, name, mine, subject, lost, effort, watch)
            parts = dealing.shared(measure)
            for i, visit in enumerate(visits):
                found = visit.join(name, request, deal.of_step(i, parts), deal.networks)
                if found is not None:
                    visit.add(name, *found, origin, network)
                    if workdir is not None and keep and processes.is_lead():
                        visit.save(name, workdir, network)
        subject = measure = None  # the networks of the next steps take their place in memory
        yield from (visit.done(requests) for visit in visits)


def wanted_of(
    request: Request, facts: Mapping[str, Any], effort: effort_lib.Effort
) -> archive.Wanted:
    """The settings of the record that a request asks for at a step of these facts."""
    measure, settings = request.measure, dict(facts)
    if not measure.draws:
        settings.pop('seed', None)
    if measure.parts:
        settings['examples_at_once'] = min(effort.at_once, settings['examples'])
    amounts = ['examples'] if 'examples' in settings else []
    for leaf in fields.leaves(measure.options):
        serves = leaf.metadata['serves']
        if serves != 'any':
            settings[leaf.path] = getattr(request.options, leaf.path)
        amounts += [leaf.path] if serves == 'more' else []
    return archive.Wanted(settings, frozenset(amounts) - request.given, tuple(amounts))


def dynamics(workdir) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """What a run recorded of itself: the steps (T,), and arrays (S, T, ...) by name.

    The names are those of `training.dynamics.record`; values by norm are left out.
    """
    lines = metrics.read(pathlib.Path(workdir) / 'dynamics.jsonl')
    if not lines:
        raise errors.AnalysisError(
            f'{workdir}/dynamics.jsonl has no record: start the training again, or train anew '
            'with config.log.record below the length of the run'
        )
    names = [name for name, value in lines[0].items() if isinstance(value, list)]
    series = {name: np.array([line[name] for line in lines], float) for name in names}
    steps_T = np.array([line['step'] for line in lines])
    return steps_T, {name: np.swapaxes(values, 0, 1) for name, values in series.items()}


def stages(steps_T, values_ST, early: float = 0.25) -> Stages:
    """The values at the first step, at the one nearest to `early` of the run, and at the last."""
    steps_T = np.asarray(steps_T)
    index = np.abs(steps_T - early * steps_T[-1]).argmin()
    return Stages(values_ST[:, 0], values_ST[:, index], values_ST[:, -1])


def _planned(source, requests, effort, step: int, workdir, network) -> visits_lib.Plan:
    """The plan of a step, by what the lead finds in the workdir."""
    found = []

    def look() -> dict[str, Any]:
        try:
            found.append(
                visits_lib.Plan(step, *_look_up(source, requests, effort, step, workdir, network))
            )
        except errors.CheckpointError as error:
            found.append(visits_lib.Plan(step, {}, {}, str(error)))
        return {'due': list(found[0].due), 'damage': found[0].damage}

    told = processes.by_lead(look, 'looking for records')
    if found:
        return found[0]
    due = {}
    for name in told['due']:
        facts = source.facts(step, requests[name].measure.examples)
        due[name] = wanted_of(requests[name], facts, effort)
    return visits_lib.Plan(step, {}, due, told['damage'])


def _looked_at(source, requests, plan: visits_lib.Plan | None):
    """(subject, facts for all processes) of the networks that this process has at a step."""
    facts: dict[str, Any] = {'damage': '', 'lost': {}, 'names': {}}
    if plan is None or not plan.due:
        return None, facts
    looks = any(requests[name].measure.examples for name in plan.due)
    try:
        with jax.default_matmul_precision('highest'):
            subject = source.subject(plan.step, looks)
    except errors.CheckpointError as error:
        return None, facts | {'damage': str(error)}
    return subject, facts | {'lost': _not_finite(subject), 'names': subject.names._asdict()}


def _part(
    request, name: str, plan: visits_lib.Plan | None, subject, lost, effort, watch
) -> dict[str, Any] | None:
    """What this process measures of its networks; None where it has none to measure."""
    if subject is None or name not in plan.due:
        return None
    carried = effort._replace(progress=_told(watch, f'step {plan.step:,}, {name}'))
    started = time.monotonic()
    with jax.default_matmul_precision('highest'):
        record, lost = _measured(request, subject, carried, lost, name)
    fields_of = None if record is None else record._asdict()
    return {'fields': fields_of, 'seconds': time.monotonic() - started, 'lost': lost}


def _look_up(source, requests, effort, step: int, workdir, network):
    """({measure: the record that is there}, {measure: what is wanted of those that are not})."""
    kept, due = {}, {}
    for name, request in requests.items():
        measure = request.measure
        wanted = wanted_of(request, source.facts(step, measure.examples), effort)
        found = None
        if workdir is not None:
            found = archive.find(workdir, name, measure.record, step, wanted, network)
        if found is None:
            due[name] = wanted
        else:
            kept[name] = found
    return kept, due


def _told(watch, what: str) -> Callable[[int, int], None] | None:
    """The progress of one piece of work, said to begin now; None where nobody hears it."""
    if watch is None:
        return None
    watch(what, 0, 1)
    return functools.partial(watch, what)


def _not_finite(subject: subjects.Subject) -> dict[str, str]:
    reasons = zip(subject.names.networks, map(subjects.not_finite, subject.stacks), strict=True)
    return {name: why for name, why in reasons if why}


def _measured(
    request: Request, subject: subjects.Subject, effort, left_out: Mapping[str, str], name: str
) -> tuple[tuple | None, dict[str, str]]:
    """The record of all networks, rows of NaN for those left out, and why each of these is.

    None for the record where no network is left.
    """
    left_out, networks = dict(left_out), subject.names.networks
    rows = [s for s, network in enumerate(networks) if network not in left_out]

    def of(some: Sequence[int]):
        return request.measure.function(subject.some(some), effort, request.options)

    try:
        try:
            parts = {tuple(rows): of(rows)} if rows else {}
        except errors.NotFiniteError:  # of one or more: each by itself says of which
            parts = {}
            for s in rows:
                try:
                    parts[s,] = of([s])
                except errors.NotFiniteError as error:
                    left_out[networks[s]] = f'{name}: {error}'
    except errors.UserError as error:
        raise type(error)(f'{name} at step {subject.origin.step:,}: {error}') from error
    return dealing.merged(parts, len(networks)) if parts else None, left_out
