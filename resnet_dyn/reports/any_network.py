"""Every measure on any network in one call, for people who never made a run of ours."""

import functools
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from resnet_dyn import errors, records
from resnet_dyn.analysis import archive, subjects, trajectories
from resnet_dyn.analysis import effort as effort_lib
from resnet_dyn.models import stack as stack_lib
from resnet_dyn.reports import closing, measures, notes
from resnet_dyn.reports import selection as selection_lib


def analyze(
    net: stack_lib.ResidualStack | Sequence[stack_lib.ResidualStack],
    inputs,
    labels,
    what: Sequence[str] = measures.DEFAULT,
    workdir=None,
    *,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    names: subjects.Names | None = None,
    mask=None,
    seed: int = 0,
    examples_at_once: int = 250,
    memory: float | None = None,
    how: str = 'map',
    report: Callable[[str], None] = print,
) -> dict[str, NamedTuple]:
    """The records of the measures `what` of a network, or of networks of one model, by name.

    The same measures, tables and pictures as `launch.analyze`: `reports.measures.MEASURES` lists
    them. With a `workdir` records, table and pictures are written there, and records that are there
    already of these very networks and examples are not made again.

    Args:
      net: a `ResidualStack` (`models.stack`), or a list of them that differ in parameters alone.
      inputs: (B, ...), as the stem takes them. labels: (B,) whole numbers, classes.
      what: names of measures; one that these networks do not admit is left out and said.
      options: options of measures, as in {'random': {'draws': 100}}.
      names: of the networks and their blocks; unset: numbers.
      mask: (B, T), the tokens that count.
      seed: what is drawn at random is drawn from it.
      examples_at_once: examples in one call; a network whose examples meet takes all at once.
      memory: GiB for activations; unset: half of what is available.
      how: 'map', one network after the other, or 'vmap', together: faster for small dense nets.
      report: takes the lines for people: the cost beforehand, the table, the paths of files.

    Raises:
      AnalysisError for a name that is no measure's, and where none of them can be made.
      ConfigError for options that are not there or out of range; NotFiniteError where no network
      is finite; BudgetError where the memory does not do; ValueError for networks of several
      models and for labels that do not go with the inputs.
    """
    what = (what,) if isinstance(what, str) else tuple(what)
    subject = subjects.of_networks(net, inputs, labels, mask=mask, names=names, seed=seed)
    settings = effort_lib.Settings(examples_at_once=examples_at_once, memory=memory)
    effort = effort_lib.of_settings(settings, how)
    selection = selection_lib.choose(what, subject, effort, options)
    report(notes.costs(selection, [0]))
    if workdir is not None:
        records.check_writable(archive.folder(workdir))
    (visit,) = trajectories.follow(
        _Networks(subject),
        selection.requests,
        effort,
        workdir=workdir,
        origin=functools.partial(records.provenance, seed=seed),
    )
    if not visit.found:
        reasons = '; '.join(f'{name}: {why}' for name, why in visit.left_out.items())
        raise errors.NotFiniteError(f'no network is finite: {reasons}')
    report(notes.visit(visit))
    source = f'{selection.examples:,} examples' if selection.examples else ''
    closing.show(
        [visit], closing.Analysis(selection, subject.names.networks, source), report, workdir
    )
    return {name: found.record for name, found in visit.found.items()}


class _Networks:
    """Networks at one moment, as a source of subjects whose only step is 0."""

    steps = (0,)

    def __init__(self, subject: subjects.Subject):
        self._subject = subject
        self._parameters = _digest(
            [leaf for net in subject.stacks for leaf in jax.tree.leaves(net)]
        )
        self._examples = _digest([subject.examples.inputs, subject.examples.labels])

    def facts(self, step: int, looks: bool = True) -> dict[str, Any]:
        found = {'checkpoint': self._parameters, 'source': 'given'}
        if looks:
            examples = self._subject.examples
            found |= {'source': f'{self._examples:08x}', 'examples': examples.number}
            found['seed'] = examples.seed
        return found

    def subject(self, step: int, looks: bool = True) -> subjects.Subject:
        return self._subject


def _digest(arrays) -> int:
    total = 0
    for array in arrays:
        array = np.ascontiguousarray(array)
        total = zlib.crc32(f'{array.dtype}{array.shape}'.encode(), total)
        total = zlib.crc32(array.reshape(-1).view(np.uint8), total)
    return total
