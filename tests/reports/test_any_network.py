"""One call, every measure, on a network written by hand: records, tables, pictures."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_dyn import errors, reports
from resnet_dyn.analysis import archive
from resnet_dyn.kernels import lesions, masks
from resnet_dyn.models import stack
from resnet_dyn.reports import measures

RANDOM = np.random.default_rng(0)
INPUTS = RANDOM.standard_normal((12, 4)).astype(np.float32)
LABELS = RANDOM.integers(0, 3, 12)
OURS = {'gamma_depth'}  # measures that know what the blocks of our networks do
ADMITTED = [name for name in measures.MEASURES if name not in OURS]
FEW = {'random': {'draws': 3}, 'reorder': {'draws': 3}, 'paths': {'probes': 2}}


def stem(params, x):
    return x


def branch(params, h):
    """A norm's scale by hand, so that even gammas are there."""
    return jnp.tanh(params['gammas']['norm_0']['gamma'][None] * (h @ params['kernel']))


def head(kernel, h):
    return h @ kernel


def network(seed=0, blocks=3):
    random = np.random.default_rng(seed)

    def draw(*shape):
        return random.standard_normal(shape).astype(np.float32)

    params = {'kernel': draw(blocks, 4, 4), 'gammas': {'norm_0': {'gamma': draw(blocks, 4)}}}
    stage = stack.Stage(params, branch, blocks)
    return stack.ResidualStack((), (stage,), draw(4, 3), stem, head)


def analyze(net, what=('singles',), workdir=None, **options):
    said = []
    few = {name: values for name, values in FEW.items() if name in what}
    found = reports.analyze(
        net, INPUTS, LABELS, what, workdir, options=few, report=said.append, **options
    )
    return found, '\n'.join(said)


@pytest.fixture(scope='module')
def everything(tmp_path_factory, sketched):
    workdir = tmp_path_factory.mktemp('analyze') / 'mine [3]'
    return workdir, *analyze([network(0), network(1)], ADMITTED, workdir)


def test_every_measure_has_its_record_and_they_are_those_of_the_kernels(everything):
    _, found, _ = everything
    assert list(found) == ADMITTED
    for s in (0, 1):
        scores = lesions.score(network(s), INPUTS, LABELS, masks.single(3))
        np.testing.assert_allclose(found['singles'].loss_SL[s], scores['loss'], rtol=1e-5)
    gammas_SLC = np.stack(
        [network(s).stages[0].params['gammas']['norm_0']['gamma'] for s in (0, 1)]
    )
    np.testing.assert_allclose(
        found['gammas'].mean_SLN[..., 0], np.abs(gammas_SLC).mean(-1), rtol=1e-6
    )
    np.testing.assert_allclose(
        found['interactions'].shapley_loss_SL.sum(1),
        [
            np.subtract(*lesions.score(network(s), INPUTS, LABELS, [[1] * 3, [0] * 3])['loss'])
            for s in (0, 1)
        ],
        rtol=1e-4,
    )


def test_records_tables_and_pictures_are_in_the_workdir(everything):
    workdir, found, said = everything
    for name in found:
        measure = measures.MEASURES[name]
        (there,) = archive.read(workdir, name, measure.record)
        assert there.origin['settings']['source'] and there.origin['seed'] == 0
        for field, value in found[name]._asdict().items():
            np.testing.assert_array_equal(getattr(there.record, field), value)
    pictures = {path.name for path in (workdir / 'pictures').iterdir()}
    assert pictures == {f'{name}.{kind}' for name in found for kind in ('png', 'pdf')}
    for name in found:
        measure = measures.MEASURES[name]
        table = (workdir / 'tables' / f'{name}.txt').read_text()
        for column in measure.columns:
            assert column.title in table and column.meaning in table
            assert column.title in said
    rows = (workdir / 'tables' / 'singles.csv').read_text().splitlines()
    assert rows[0] == 'step,measure,number,network,value'
    values = [row.split(',')[-1] for row in rows if row.startswith('0,singles,error %,network 1')]
    assert float(values[0]) == pytest.approx(100 * found['singles'].full_error_S[1])


def test_the_cost_is_said_before_anything_is_computed(everything):
    _, _, said = everything
    assert said.startswith('2 networks of 3 blocks: gammas, depth')
    assert '12 examples' in said.splitlines()[1]


def test_what_is_there_is_not_made_again_and_other_parameters_are(everything):
    workdir, found, _ = everything
    again, said = analyze([network(0), network(1)], ('singles', 'random'), workdir)
    assert 'there already: singles, random' in said
    np.testing.assert_array_equal(again['random'].loss_SJM, found['random'].loss_SJM)
    other, said = analyze([network(0), network(2)], ('singles',), workdir)
    assert 'measured singles' in said
    back, said = analyze([network(0), network(1)], ('singles',), workdir)
    assert 'there already: singles' in said  # beside those of the others
    assert not np.array_equal(back['singles'].loss_SL, other['singles'].loss_SL)


@pytest.mark.slow
def test_a_network_from_functions_alone_goes_through_whatever_it_admits():
    kernel_C = INPUTS[0]
    net = stack.from_functions(
        lambda x: x,
        [lambda h: jnp.tanh(h * kernel_C[None]), jnp.sin],
        lambda h: h[:, :3],
    )
    found, said = analyze(net, tuple(measures.MEASURES))
    assert list(found) == [name for name in ADMITTED if name not in ('gammas', 'growth')]
    assert 'gammas is left out: these networks have no collection of gammas' in said
    assert 'growth is left out: these networks have no weights among their parameters' in said


def test_a_network_that_is_not_finite_is_left_out_and_all_of_them_are_an_error():
    broken = jax.tree.map(lambda a: np.full_like(a, np.nan), network(1))
    found, said = analyze([network(0), broken, network(2)])
    assert np.isnan(found['singles'].loss_SL[1]).all()
    alone, _ = analyze([network(0), network(2)])
    np.testing.assert_allclose(
        found['singles'].loss_SL[[0, 2]], alone['singles'].loss_SL, rtol=1e-6
    )
    assert 'network 1 is left out' in said and '1 of 3 networks left out' in said
    with pytest.raises(errors.NotFiniteError, match='no network could be measured: network 0'):
        analyze([broken])


def test_networks_together_have_the_numbers_that_they_have_in_turn():
    in_turn, _ = analyze([network(0), network(1)], ('singles', 'depth'))
    together, _ = analyze([network(0), network(1)], ('singles', 'depth'), how='vmap')
    np.testing.assert_allclose(together['singles'].loss_SL, in_turn['singles'].loss_SL, rtol=1e-5)
    np.testing.assert_allclose(together['depth'].gains_SL, in_turn['depth'].gains_SL, rtol=1e-5)


def test_networks_that_differ_in_what_their_functions_close_over_are_told_apart(tmp_path):
    def closed(weights):
        return stack.from_functions(
            lambda x: x, [lambda h: jnp.tanh(h @ weights)], lambda h: h[:, :3]
        )

    first, second = (np.asarray(RANDOM.standard_normal((4, 4)), np.float32) for _ in range(2))
    found, _ = analyze(closed(first), ('depth',), tmp_path)
    other, said = analyze(closed(second), ('depth',), tmp_path)
    assert 'measured depth' in said
    gains = [np.linalg.norm(np.tanh(INPUTS @ w)) / np.linalg.norm(INPUTS) for w in (first, second)]
    np.testing.assert_allclose(
        [found['depth'].gains_SL[0, 0], other['depth'].gains_SL[0, 0]], gains, rtol=1e-5
    )
    _, said = analyze(closed(first), ('depth',), tmp_path)
    assert 'there already: depth' in said


def test_a_measure_that_fails_for_every_network_leaves_the_others_alone():
    net = stack.from_functions(
        lambda x: x, [lambda h: h], lambda h: h[:, :3], [lambda h: 0 * h]
    )  # a skip that carries nothing: its gain is infinite, its lesion is not
    found, said = analyze(net, ('depth', 'singles'))
    assert list(found) == ['singles']
    assert 'network 0 is left out: depth: the power gain of a block is not finite' in said


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ((network(), INPUTS, LABELS[:5]), 'one label an example'),
        ((network(), INPUTS[:0], LABELS[:0]), 'at least one example'),
        (
            (network(), INPUTS, LABELS + 1),
            r'label 3 of example \d+ is none of the 3 classes 0\.\.2',
        ),
        ((network(), INPUTS, LABELS - 5), 'is none of the 3 classes'),
        ((network(), INPUTS, LABELS.astype(float)), 'classes are whole numbers.*argmax'),
        ((network(), INPUTS, LABELS.astype(str)), 'classes are whole numbers.*names by np.unique'),
        ((network(), INPUTS, LABELS[:, None]), r'labels \(\d+, 1\): logits of K classes'),
        (([network(), network(blocks=2)], INPUTS, LABELS), 'network 1 is not of the model'),
        (([], INPUTS, LABELS), 'at least one stack'),
        ((network(), INPUTS, LABELS, ('single',)), "did you mean 'singles'"),
        ((network(), INPUTS, LABELS, ()), 'no measure is named: take gammas'),
    ],
)
def test_what_cannot_be_analysed_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        reports.analyze(*arguments, report=lambda line: None)


def test_a_mask_without_tokens_and_names_of_another_form_are_refused():
    mask = np.ones(INPUTS.shape[:2])
    with pytest.raises(ValueError, match='no token for each of its places'):
        reports.analyze(network(), INPUTS, LABELS, ('depth',), mask=mask)
    with pytest.raises(TypeError, match='give analysis'):
        reports.analyze(network(), INPUTS, LABELS, ('depth',), names=('one',))


def test_what_is_no_stack_is_refused_by_its_type():
    with pytest.raises(TypeError, match='network 0 is a function: make a ResidualStack'):
        reports.analyze([lambda x: x], INPUTS, LABELS)


def test_words_with_commas_name_measures_too():
    found, _ = analyze(network(), 'singles, depth')
    assert list(found) == ['singles', 'depth']


@pytest.mark.parametrize(
    ('gammas', 'why'),
    [
        (np.ones((3, 4), np.float32), 'an array'),
        ({'scale': np.ones((3, 4), np.float32)}, 'other names'),
        ({'norm_0': np.ones((3, 4), np.float32)}, 'no names of gammas'),
    ],
    ids=lambda value: value if isinstance(value, str) else '',
)
def test_gammas_of_another_form_are_none(gammas, why):
    net = network()
    stage = dataclasses.replace(
        net.stages[0],
        params={**net.stages[0].params, 'gammas': gammas},
        branch=lambda params, h: jnp.tanh(h @ params['kernel']),
    )
    found, said = analyze(dataclasses.replace(net, stages=(stage,)), ('gammas', 'depth'))
    assert list(found) == ['depth'] and 'gammas is left out' in said


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'random': {'drawn': 2}}, r"measure random has no field 'drawn'.*'draws'"),
        ({'random': {'draws': 0}}, r'random\.draws=0 is out of range'),
        ({'randm': {'draws': 2}}, "options of the measure 'randm' are given"),
        ({'paths': {'probes': 2}}, "options of the measure 'paths' are given"),
    ],
)
def test_options_that_are_not_there_are_refused(options, message):
    with pytest.raises(errors.ConfigError, match=message):
        reports.analyze(network(), INPUTS, LABELS, ('random',), options=options)


@pytest.mark.parametrize('settings', [{'examples_at_once': 0}, {'memory': -1.0}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(errors.ConfigError, match='out of range'):
        reports.analyze(network(), INPUTS, LABELS, ('depth',), **settings)
