"""Every measure on any network in one call, for people who never made a run of ours."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from resnet_dyn import errors, fields, records
from resnet_dyn.analysis import archive, digests, subjects, trajectories
from resnet_dyn.analysis import effort as effort_lib
from resnet_dyn.models import stack as stack_lib
from resnet_dyn.reports import closing, measures, notes
from resnet_dyn.reports import selection as selection_lib

SEQUENCES = 2  # whose outputs tell networks apart; those of all may not fit


def analyze(
    net: stack_lib.ResidualStack | Sequence[stack_lib.ResidualStack],
    inputs,
    labels,
    what: Sequence[str] | str = tuple(measures.MEASURES),
    workdir=None,
    *,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    names: subjects.Names | None = None,
    mask=None,
    seed: int = 0,
    examples_at_once: int | None = None,
    memory: float | None = None,
    how: str = 'map',
    mesh: Mesh | None = None,
    report: Callable[[str], None] = print,
) -> dict[str, NamedTuple]:
    """The records of the measures `what` of a network, or of networks of one model, by name.

    The same measures, tables and pictures as `launch.analyze`: `reports.measures.MEASURES` lists
    them, and all of them are made unless named: the cost is said first. With a `workdir` records,
    tables and pictures are written there, and records that are there already of these very networks
    and examples are not made again: networks are the same where their parameters are, and what they
    give on the examples with all gates open and with gates between 0 and 1.

    Args:
      net: a `ResidualStack` (`models.stack`), or a list of them that differ in parameters alone.
      inputs: (B, ...) or a tree of arrays led by B, as the stem takes them.
      labels: (B,) whole numbers, classes; of tokens (B, T), -1 where one does not count.
      what: names of measures; one that these networks do not admit is left out and said.
      options: options of measures, as in {'random': {'draws': 100}}.
      names: of the networks and their blocks; unset: numbers.
      mask: (B, T) of the tokens that count in what is said of hidden states; unset: all.
      seed: what is drawn at random is drawn from it.
      examples_at_once: examples in one call; unset: 250, or fewer where outputs are large. A
        network whose examples meet takes all at once.
      memory: GiB for activations; unset: half of what is available.
      how: 'map', one network after the other, or 'vmap', together: faster for small dense nets.
        Measures that walk on by what they found (greedy, reorder, interactions) go one by one.
      mesh: `models.placement.kernel_mesh()` for all devices; unset: one.
      report: takes the lines for people: the cost beforehand, the table, the paths of files.

    Raises:
      AnalysisError for a name that is no measure's, and where none of them can be made.
      ConfigError for options that are not there or out of range; DataError for labels that do not
      go with the inputs; NotFiniteError where no network is finite; BudgetError where the memory
      does not do; ValueError for networks of several models, TypeError for what is no stack.
    """
    what = tuple(word.strip() for word in what.split(',')) if isinstance(what, str) else tuple(what)
    selection_lib.check(what)
    given = {'memory': memory}
    if examples_at_once is not None:
        given['examples_at_once'] = examples_at_once
    settings = effort_lib.Settings(**fields.given(effort_lib.Settings, given, 'analyze', ''))
    effort = effort_lib.of_settings(settings, how, mesh=mesh)
    subject = subjects.of_networks(net, inputs, labels, names=names, seed=seed, mask=mask)
    if examples_at_once is None:
        outputs = subject.output.size // subject.examples.number
        effort = effort._replace(at_once=effort_lib.examples_for(outputs))
    selection = selection_lib.choose(what, subject, effort, options)
    report(notes.costs(selection))
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
        raise errors.NotFiniteError(f'no network could be measured: {reasons}')
    report(notes.visit(visit, step=False))
    analysis = closing.Analysis(selection, subject.names.networks, _said_of, trained=False)
    closing.show([visit], analysis, report, workdir)
    return {name: found.record for name, found in visit.found.items()}


class _Networks:
    """Networks at one moment, as a source of subjects whose only step is 0."""

    steps = (0,)

    def __init__(self, subject: subjects.Subject):
        self._subject = subject
        examples = subject.examples
        some = examples.first(SEQUENCES) if examples.tokens else examples.inputs
        behaviour = [_behaviour(net, some) for net in subject.stacks]
        parameters = [leaf for net in subject.stacks for leaf in jax.tree.leaves(net)]
        self._networks = digests.of_arrays([*parameters, *behaviour])
        self._examples = digests.of_arrays(
            jax.tree.leaves((examples.inputs, examples.labels, examples.mask))
        )

    def facts(self, step: int, looks: bool = True) -> dict[str, Any]:
        """The networks, the examples, and the seed of what is drawn."""
        found = {'networks': self._networks, 'source': self._examples}
        if looks:
            examples = self._subject.examples
            found |= {'examples': examples.number, 'seed': examples.seed}
        return found

    def subject(self, step: int, looks: bool = True) -> subjects.Subject:
        """The networks and their examples."""
        return self._subject


def _said_of(settings: Sequence[Mapping[str, Any]]) -> str:
    numbers = {one['examples'] for one in settings if 'examples' in one}
    return f'{max(numbers):,} examples' if numbers else ''


@jax.jit
def _outputs(net, inputs, gates_L):
    return stack_lib.apply(net, inputs, gates_L)


def _behaviour(net, inputs) -> np.ndarray:
    """Outputs under two sets of gates: functions that close over arrays differ in these alone."""
    L = stack_lib.num_blocks(net)
    fractions_L = 1 / (1 + np.arange(1, L + 1, dtype=np.float32))
    gates_2L = (np.ones(L, np.float32), fractions_L)
    return np.stack([np.asarray(_outputs(net, inputs, gates_L)) for gates_L in gates_2L])
