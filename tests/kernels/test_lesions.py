"""Scores of masks: equal to a loop over networks, in the order of the masks, errors by name."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import random_variables

from resnet_dyn import errors
from resnet_dyn.kernels import lesions, masks, metrics, prefix_programs
from resnet_dyn.models import presets, stack


@functools.cache
def setting(block='preact', seed=0):
    model = presets.fully_connected(7, 8, 3, block)
    x = np.random.default_rng(1).normal(size=(6, 5)).astype(np.float32)
    labels = np.arange(6) % 3
    return model, random_variables.of(model, x, seed), x, labels


@pytest.fixture(scope='module')
def net():
    """A stack with inputs and labels."""
    model, variables, x, labels = setting()
    return stack.from_model(model, variables), x, labels


@pytest.mark.slow_but('postact-4')
@pytest.mark.parametrize(('block', 'width'), [('preact', 1), ('postact', 4), ('paper', 64)])
def test_scores_equal_a_loop_over_gated_forward_passes(block, width):
    model, variables, x, labels = setting(block)
    whole = stack.from_model(model, variables)
    masks_ML = masks.up_to(6, 1)
    scores = lesions.score(whole, x, labels, masks_ML, ('loss', 'error', 'logits'), width=width)
    forward = jax.jit(model.apply)
    for mask, loss, error, logits in zip(
        masks_ML, scores['loss'], scores['error'], scores['logits'], strict=True
    ):
        expected = np.asarray(forward(variables, x, mask), np.float64)
        np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)
        log_p = expected - np.log(np.exp(expected).sum(-1, keepdims=True))
        np.testing.assert_allclose(loss, -log_p[np.arange(6), labels].mean(), rtol=1e-5)
        assert error == pytest.approx((expected.argmax(-1) != labels).mean())


def test_metrics_may_be_functions_and_gates_any_factor():
    model, variables, x, labels = setting()
    whole = stack.from_model(model, variables)
    halves = np.full((2, 6), 0.5)
    scores = lesions.score(whole, x, labels, halves, {'top': lambda logits, y: logits.max()})
    expected = jax.jit(model.apply)(variables, x, halves[0].astype(np.float32))
    np.testing.assert_allclose(scores['top'], [np.max(expected)] * 2, rtol=1e-5)


def test_deleting_a_block_without_a_skip_is_refused():
    model, variables, x, labels = setting('plain')
    with pytest.raises(ValueError, match='mask 0 deletes block 3, which has no skip'):
        lesions.score(stack.from_model(model, variables), x, labels, masks.single(6)[3:])


def test_logits_that_are_nan_are_named_with_their_mask():
    branches = [lambda h: jnp.log(h), lambda h: -2 * h]
    foreign = stack.from_functions(lambda x: x, branches[::-1], lambda h: h)
    x = np.ones((2, 3), np.float32)
    with pytest.raises(
        errors.NotFiniteError, match=r'logits of mask 1, \[1.0, 1.0\], or a metric of them are NaN'
    ):
        lesions.score(foreign, x, np.zeros(2, int), [[0.0, 1.0], [1.0, 1.0]])


@pytest.mark.parametrize(('label', 'metric'), [(3, 'loss'), (7, 'error'), (-1, 'loss')])
def test_a_label_that_is_no_class_is_named_and_not_called_nan(net, label, metric):
    whole, x, labels = net
    labels = labels.copy()
    labels[4] = label
    with pytest.raises(ValueError, match=rf'label {label} of example 4 .* 3 classes') as caught:
        lesions.score(whole, x, labels, masks.single(6), (metric,))
    assert not isinstance(caught.value, errors.UserError)
    lesions.score(whole, x, labels, np.ones(6), ('logits',))  # which asks for no class


def test_slopes_by_gates_are_summed_in_float32_whatever_the_dtype_of_the_compute():
    x = np.random.default_rng(0).normal(3, 1, (4, 257)).astype(jnp.bfloat16)
    net = stack.from_functions(lambda x: x, [lambda h: h], lambda h: h)
    slopes_L = lesions.first_order(net, x, np.zeros(4, int), sum_of_all)
    assert slopes_L.dtype == jnp.float32
    np.testing.assert_allclose(slopes_L, [-x.astype(np.float64).sum()], rtol=1e-6)


def sum_of_all(output, labels):
    return stack.precise(output).sum()


def test_minus_infinity_in_masked_logits_is_no_error_and_logits_need_no_labels():
    def head(h):
        return jnp.concatenate([h, jnp.full((2, 1), -jnp.inf)], axis=1)

    foreign = stack.from_functions(lambda x: x, [jnp.tanh], head)
    x = np.ones((2, 3), np.float32)
    found = lesions.score(foreign, x, None, [[1], [0]], ('logits',))['logits']
    assert (found[..., 3] == -np.inf).all()
    with pytest.raises(ValueError, match='labels are None'):
        lesions.score(foreign, x, None, [[1]])


def test_greedy_tells_its_progress_over_all_turns():
    model, variables, x, labels = setting()
    told = []
    whole = stack.from_model(model, variables)
    lesions.greedy(whole, x, labels, 3, progress=lambda *now: told.append(now))
    done = [a for a, _ in told]
    assert done == sorted(done)
    assert told[-1] == (20 + 14 + 9, 20 + 14 + 9)


def test_an_unknown_metric_is_refused():
    model, variables, x, labels = setting()
    with pytest.raises(ValueError, match="no metric 'los'"):
        lesions.score(stack.from_model(model, variables), x, labels, masks.single(6), ('los',))


@pytest.mark.slow_but('map')
@pytest.mark.parametrize('how', ['map', 'vmap'])
def test_eight_seeds_as_one_call_equal_seed_by_seed(how):
    settings = [setting(seed=s) for s in range(8)]
    stacks = [stack.from_model(model, variables) for model, variables, _, _ in settings]
    _, _, x, labels = settings[0]
    together = lesions.score_seeds(stacks, x, labels, masks.single(6), how=how)
    for s, whole in enumerate(stacks):
        alone = lesions.score(whole, x, labels, masks.single(6))
        np.testing.assert_allclose(together['loss'][s], alone['loss'], rtol=1e-5)
        np.testing.assert_array_equal(together['error'][s], alone['error'])


def test_networks_whose_stem_has_no_parameters_are_mapped_over_seeds_too():
    def net(scale):
        stage = stack.Stage(np.full((2, 1), scale, np.float32), times, 2)
        return stack.ResidualStack((), (stage,), (), identity, identity)

    def times(weight, h):
        return weight[0] * h

    x, stacks = np.eye(3, dtype=np.float32), [net(0.5), net(2.0)]
    found = lesions.score_seeds(stacks, x, np.arange(3), masks.single(2), ('logits',), how='vmap')
    np.testing.assert_allclose(found['logits'][:, 0], [1.5 * x, 3.0 * x])


def test_greedy_deletes_the_block_that_is_missed_least_at_every_turn():
    model, variables, x, labels = setting()
    whole = stack.from_model(model, variables)
    table = lesions.score(whole, x, labels, masks.all_masks(6))['loss']
    found, kept = lesions.greedy(whole, x, labels, 4), 2**6 - 1
    for block, value in zip(found.deleted_J, found.value_J, strict=True):
        choices = {b: table[kept - 2**b] for b in range(6) if kept >> b & 1}
        assert block == min(choices, key=choices.get)
        kept -= 2**block
        np.testing.assert_allclose(value, table[kept], rtol=1e-5)


def test_random_curves_average_over_their_masks():
    model, variables, x, labels = setting()
    whole = stack.from_model(model, variables)
    singles = lesions.score(whole, x, labels, masks.single(6), ('loss',))['loss']
    curve = lesions.random_curve(whole, x, labels, jax.random.key(0), [0, 1], 40, ('loss',))['loss']
    full = lesions.score(whole, x, labels, np.ones(6), ('loss',))['loss'][0]
    assert curve.mean_J[0] == pytest.approx(float(full), rel=1e-5)
    assert curve.error_J[0] == pytest.approx(0, abs=1e-6)
    assert abs(curve.mean_J[1] - singles.mean()) < 5 * curve.error_J[1]
    assert curve.error_J[1] == pytest.approx(singles.std() / 40**0.5, rel=0.4)  # of 40 draws


def test_first_order_lesions_are_the_slope_of_the_loss_in_each_gate():
    model, variables, x, labels = setting()
    whole = stack.from_model(model, variables)
    found = lesions.first_order(whole, x, labels)
    nearly = 1 - 1e-2 * np.eye(6, dtype=np.float32)
    above = 1 + 1e-2 * np.eye(6, dtype=np.float32)
    low, high = (lesions.score(whole, x, labels, m)['loss'] for m in (nearly, above))
    np.testing.assert_allclose(found, (low - high) / 2e-2, rtol=2e-2, atol=2e-3)  # differences


def test_mean_ablation_leaves_the_mean_of_the_branch_in_place_of_the_block():
    model, variables, x, labels = setting('postact')
    whole = stack.from_model(model, variables)
    ablated = lesions.mean_ablated(whole, x)
    masks_ML = np.stack([masks.single(6)[2], np.ones(6)])
    found = lesions.score(ablated, x, labels, masks_ML, ('logits',))['logits']

    @jax.jit
    def branch_of(stage, l, h):
        return stage.branch(stack.block_params(stage, l), h)

    def by_hand(whole, x, ablated):
        (stage,), h = whole.stages, jax.jit(stack.stem)(whole, x)
        for l in range(6):
            branch = np.asarray(branch_of(stage, l, h))
            if l == ablated:
                branch = branch.mean(0, keepdims=True)
            h = np.maximum(h + branch, 0)
        return jax.jit(stack.head)(whole, h)

    expected = [by_hand(whole, x, block) for block in (2, -1)]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_batch_statistics_are_neither_cut_nor_taken_of_one_example():
    model, variables, x, labels = setting()
    whole = stack.from_model(model, variables, 'batch')
    with pytest.raises(ValueError, match='6 of them are one batch, which cannot be cut'):
        lesions.score(whole, x, labels, masks.single(6), examples_at_once=3)
    with pytest.raises(ValueError, match='needs at least 2 examples'):
        lesions.score(whole, x[:1], labels[:1], masks.single(6))


@pytest.mark.parametrize(
    ('masks_ML', 'message'),
    [
        (np.ones((2, 5)), 'L=6 blocks'),
        (np.array([[1, 1, 1, 1, 1, 1], [1, 1, np.nan, 1, 1, 1]]), 'mask 1 is not finite'),
        (np.ones((0, 6)), 'no masks to score'),
        ([[1, 0, 1], [1, 1]], 'rows of different lengths, 2 to 3'),
    ],
)
def test_masks_that_do_not_fit_are_refused(masks_ML, message):
    model, variables, x, labels = setting()
    with pytest.raises(ValueError, match=message):
        lesions.score(stack.from_model(model, variables), x, labels, masks_ML)


def contrast(total):
    """A merge that uses an axis of one network's h."""
    return total - total.mean(1, keepdims=True)


def narrowing(total):
    """A merge that changes the number of axes, as no broadcasting would survive."""
    return total.reshape(len(total), -1)


@pytest.mark.parametrize('merge', [contrast, narrowing])
def test_merges_that_use_an_axis_are_mapped_over_seeds_like_all_else(merge):
    def times(weight, h):
        return jnp.sin(weight * h)

    weights = np.random.default_rng(0).normal(size=(2, 2, 1, 5)).astype(np.float32)
    stacks = [
        stack.ResidualStack((), (stack.Stage(w, times, 2, merge=merge),), (), identity, identity)
        for w in weights
    ]
    x = np.random.default_rng(1).normal(size=(4, 5)).astype(np.float32)
    masks_ML = masks.all_masks(2)
    found = lesions.score_seeds(stacks, x, None, masks_ML, ('logits',), how='vmap')['logits']
    for s, w in enumerate(weights):
        for mask, logits in zip(masks_ML, found[s], strict=True):
            h = x
            for kept, row in zip(mask, w, strict=True):
                h = merge(h + kept * np.sin(row * h))
            np.testing.assert_allclose(logits, h, rtol=1e-5, atol=1e-6)


def identity(params, h):
    return h


def top(logits, labels):
    return logits.max()


def margins(logits, labels):
    """Of each example: by how much the label's logit is below the largest."""
    return logits.max(-1) - jnp.take_along_axis(logits, labels[:, None], -1)[:, 0]


def mean_margin(logits_MBK, labels):
    own = logits_MBK[:, np.arange(len(labels)), labels]
    return (logits_MBK.max(-1) - own).mean(1)


@pytest.mark.slow_but('None-map', '4-vmap')
@pytest.mark.parametrize('how', ['map', 'vmap'])
@pytest.mark.parametrize('at_once', [None, 4])
def test_a_metric_of_each_example_is_averaged_over_them_and_may_be_cut(net, how, at_once):
    whole, x, labels = net
    chosen = {'margin': margins, 'logits': metrics.whole_output}
    options = {'how': how, 'examples_at_once': at_once}
    found = lesions.score_seeds([whole, whole], x, labels, masks.single(6), chosen, **options)
    assert found['logits'].shape == (2, 6, 6, 3)
    expected = mean_margin(found['logits'][0], labels)
    np.testing.assert_allclose(found['margin'], [expected] * 2, rtol=1e-5)


def test_a_metric_of_all_examples_comes_back_as_it_is_and_is_not_put_together_from_parts(net):
    whole, x, labels = net

    def of_classes(logits, labels):
        return logits.mean(0)

    both = {'top': top, 'classes': of_classes, 'logits': metrics.whole_output}
    found = lesions.score(whole, x, labels, masks.single(6), both)
    np.testing.assert_allclose(found['top'], found['logits'].max((1, 2)), rtol=1e-6)
    np.testing.assert_allclose(found['classes'], found['logits'].mean(1), rtol=1e-5, atol=1e-6)
    for name in ('top', 'classes'):  # parts of 3, as many as classes
        with pytest.raises(ValueError, match=f"metric '{name}' gives shape .* cannot be put tog"):
            lesions.score(
                whole, x[:5], labels[:5], masks.single(6), {name: both[name]}, examples_at_once=3
            )


def test_greedy_chooses_by_the_metric_it_is_given(net):
    whole, x, labels = net
    table = lesions.score(whole, x, labels, masks.all_masks(6), ('logits',))['logits']
    table, kept = mean_margin(table, labels), 2**6 - 1
    found = lesions.greedy(whole, x, labels, 3, {'margin': margins}, examples_at_once=3)
    for block, value in zip(found.deleted_J, found.value_J, strict=True):
        choices = {b: table[kept - 2**b] for b in range(6) if kept >> b & 1}
        assert block == min(choices, key=choices.get)
        kept -= 2**block
        np.testing.assert_allclose(value, table[kept], rtol=1e-5)


@pytest.mark.parametrize(
    ('metric', 'message'),
    [
        ('logits', 'no single number'),
        (('loss', 'error'), '2 metrics'),
        ({'row': lambda logits, labels: logits[0]}, r"'row' has shape \(3,\)"),
    ],
)
def test_what_is_no_single_number_chooses_no_block(net, metric, message):
    whole, x, labels = net
    with pytest.raises(ValueError, match=message):
        lesions.greedy(whole, x, labels, 1, metric)


def test_a_head_that_couples_examples_is_never_given_a_part_of_them():
    def contrast_of_examples(h):
        return h - h.mean(0, keepdims=True)

    def build(**options):
        return stack.from_functions(lambda x: x, [jnp.sin], contrast_of_examples, **options)

    x, labels = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32), np.arange(6) % 3
    with pytest.raises(ValueError, match='couples its examples'):
        lesions.score(build(couples_examples=True), x, labels, [[1]], examples_at_once=2)
    found = lesions.score(build(couples_examples=True), x, labels, [[1]], ('logits',))['logits']
    h = x + np.sin(x)
    np.testing.assert_allclose(found[0], h - h.mean(0), rtol=1e-5, atol=1e-6)
    lesions.score(build(), x, labels, [[1]], examples_at_once=2)  # taken at its word


def test_numpy_parameters_are_put_on_the_device_once(monkeypatch):
    stage = stack.Stage(np.ones((3, 1, 4), np.float32), lambda w, h: w * h, 3)
    net = stack.ResidualStack(np.ones(4, np.float32), (stage,), (), identity, identity)
    seen, evaluate = [], prefix_programs.evaluate

    def spy(stage, *rest):
        seen.append(stage.params)
        return evaluate(stage, *rest)

    monkeypatch.setattr(prefix_programs, 'evaluate', spy)
    lesions.greedy(net, np.ones((2, 4), np.float32), np.zeros(2, int))
    assert {id(params) for params in seen} == {id(seen[0])}
    assert isinstance(seen[0], jax.Array)


def test_curves_keep_the_score_of_each_mask(net):
    whole, x, labels = net
    key = jax.random.key(0)
    curve = lesions.random_curve(whole, x, labels, key, [2, 3], 5, ('loss',))['loss']
    assert curve.values_JM.shape == (2, 5)
    np.testing.assert_allclose(curve.mean_J, curve.values_JM.mean(1), rtol=1e-6)
    expected = curve.values_JM.std(1, ddof=1) / 5**0.5
    np.testing.assert_allclose(curve.error_J, expected, rtol=1e-5)
