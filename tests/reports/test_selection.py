"""What can be measured of which networks, at what cost, and why not."""

import jax.numpy as jnp
import numpy as np
import pytest

from resnet_dyn import errors
from resnet_dyn.analysis import effort, subjects
from resnet_dyn.kernels import depth_curves
from resnet_dyn.models import stack
from resnet_dyn.reports import measures, notes, selection

EFFORT = effort.Effort()
CLOSED = {'gammas', 'gamma_depth', 'growth'}  # what functions without parameters do not admit


def subject(blocks=3, skips=None, shapes=True):
    widths = [4] * blocks if shapes else range(4, 4 + blocks)

    def widen(width):
        return lambda h: jnp.pad(h, ((0, 0), (0, width + 1 - h.shape[1])))

    branches = [jnp.tanh if shapes else widen(width) for width in widths]
    skips = None if shapes else [widen(width) for width in widths]
    net = stack.from_functions(lambda x: x, branches, lambda h: h[:, :3], skips)
    return subjects.of_networks(net, np.ones((8, 4), np.float32), np.zeros(8, int))


def plain():
    stage = stack.Stage(jnp.ones(2), lambda p, h: p * h, 2, skippable=False)
    net = stack.ResidualStack((), (stage,), (), lambda p, x: x, lambda p, h: h)
    return subjects.of_networks(net, np.ones((8, 4), np.float32), np.zeros(8, int))


def test_the_selection_states_its_cost():
    chosen = selection.choose(('depth', 'singles', 'singles'), subject(), EFFORT)
    assert (chosen.networks, chosen.blocks, chosen.examples) == (1, 3, 8)
    assert {name: tuple(cost) for name, cost in chosen.costs.items()} == {
        'depth': (1, 0, 0),
        'singles': (3, 1, 0),
    }
    said = notes.costs(chosen, [0, 5, 20])
    assert 'cost: at most 12 forward, 3 backward passes of 8 examples' in said
    assert '3 checkpoints (steps 0 to 20), 1 network of 3 blocks: depth, singles' in said


def test_the_head_at_every_depth_is_in_the_cost():
    asked = subject()
    chosen = selection.choose(('depth_use', 'effective_depth'), asked, EFFORT)
    curves = depth_curves.curves(asked.stacks[0], asked.examples.inputs)
    depths = curves.divergence_BV.shape[1]
    assert [cost.heads for cost in chosen.costs.values()] == [depths, depths]
    said = notes.costs(chosen, [0, 5])
    assert 'cost: at most 10 forward passes of 8 examples, the head at 16 depths; records' in said
    assert 'effective_depth  1 forward, the head at 4 depths' in said
    assert 'head' not in notes.costs(selection.choose(('depth', 'singles'), asked, EFFORT))


def test_options_given_by_hand_are_those_of_the_request():
    options = {'random': {'draws': 7}}
    chosen = selection.choose(('random', 'paths'), subject(), EFFORT, options, ('examples',))
    assert chosen.requests['random'].options.draws == 7
    assert chosen.requests['random'].given == {'draws', 'examples'}
    assert chosen.requests['paths'].given == {'examples'}


@pytest.mark.parametrize(
    ('made', 'lost', 'why'),
    [
        (subject(), CLOSED, 'these networks have no'),
        (subject(shapes=False), {'reorder', *CLOSED}, ''),
        (plain(), set(measures.MEASURES), ''),
    ],
    ids=['no parameters', 'no equal blocks', 'plain'],
)
def test_what_a_network_lacks_is_left_out_and_said(made, lost, why):
    names = list(measures.MEASURES)
    if lost == set(names):
        with pytest.raises(errors.AnalysisError, match='have no skip'):
            selection.choose(names, made, EFFORT)
        return
    chosen = selection.choose(names, made, EFFORT)
    assert set(chosen.impossible) == lost
    assert set(chosen.requests) == set(names) - lost
    assert all(why in reason and reason for reason in chosen.impossible.values())


def test_too_many_sub_networks_are_refused_with_their_cost_and_the_flag():
    few = {'interactions': {'exhaustive': 2}}
    words = r'2\^3 sub-.*2\.33 forward.*--interactions\.exhaustive=3'
    with pytest.raises(errors.AnalysisError, match=words):
        selection.choose(['interactions'], subject(), EFFORT, few)


def test_logits_over_the_memory_budget_are_refused_with_both_flags():
    with pytest.raises(errors.AnalysisError, match=r'GiB.*--examples_at_once.*--memory'):
        selection.choose(['interactions'], subject(), EFFORT._replace(budget=1000))


def test_an_unknown_measure_names_the_nearest():
    with pytest.raises(errors.AnalysisError, match="did you mean 'singles'"):
        selection.choose(['single'], subject(), EFFORT)
