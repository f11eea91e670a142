"""What programs cost, read from their text: against counts by hand, loops, and XLA's own sums."""

import itertools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from resnet_dyn.plans import costs, hlo

# A step of a net of 5 scanned convolutions, 3x3 on 16 x 32 x 32 x 16 a chip, its batch on 8 chips,
# as XLA compiled it for TPU v5e; less what says where in the source a line is from.
FOR_V5E = (pathlib.Path(__file__).parent / 'step_for_v5e.txt').read_text()


def compiled(function, *arguments):
    return jax.jit(function).lower(*arguments).compile()


def test_a_loop_of_known_length_counts_as_often_as_it_goes_round_and_one_of_steps_once():
    def scanned(ws, x):
        return lax.scan(lambda h, w: (jnp.tanh(h @ w), None), x, ws)[0]

    def steps(ws, x, start, stop):
        return lax.fori_loop(start, stop, lambda t, x: scanned(ws, x), x)

    ws, x = jnp.ones((5, 8, 8)), jnp.ones((3, 8))
    whole = costs.of_program(compiled(scanned, ws, x).as_text())
    step = compiled(steps, ws, x, 0, 7).as_text()
    once = 2 * 3 * 8 * 8
    assert whole.products == {'float32': 5 * once} and whole.open_loops == 0
    assert costs.of_step(step).products == {'float32': 5 * once}
    assert costs.of_program(step).products == {'float32': 5 * once}
    assert costs.of_program(step).open_loops == 1 and costs.of_step(step).open_loops == 0
    assert costs.of_step(compiled(scanned, ws, x).as_text()) == whole


@pytest.mark.parametrize(
    'size, kernel, stride, pad, spread, reach',
    [
        (7, 3, 1, (1, 1), 1, 1),
        (8, 3, 2, (0, 1), 1, 1),
        (5, 2, 1, (3, 0), 2, 1),
        (9, 3, 1, (2, 2), 1, 2),
    ],
)
def test_convolutions_are_counted_where_kernel_and_values_meet(
    size, kernel, stride, pad, spread, reach
):
    x, w = jnp.ones((2, size, size, 3)), jnp.ones((kernel, kernel, 3, 4))

    def convolve(x, w):
        return lax.conv_general_dilated(
            x,
            w,
            (stride, stride),
            (pad, pad),
            (spread, spread),
            (reach, reach),
            dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
        )

    padded = np.zeros(sum(pad) + (size - 1) * spread + 1)
    padded[pad[0] : pad[0] + (size - 1) * spread + 1 : spread] = 1
    out = jax.eval_shape(convolve, x, w).shape[1]
    places = itertools.product(range(out), range(kernel))
    met = sum(padded[o * stride + k * reach] for o, k in places)
    cost = costs.of_program(compiled(convolve, x, w).as_text())
    assert cost.products == {'float32': 2 * met**2 * 2 * 3 * 4}


def test_without_loops_the_sum_is_that_of_xla():
    def loss(w, x):
        return jnp.square(jnp.tanh(x @ w) - x).sum()

    program = compiled(jax.grad(loss), jnp.ones((30, 30)), jnp.ones((20, 30)))
    said = program.cost_analysis()['flops']
    assert costs.of_program(program.as_text()).operations == pytest.approx(said, rel=0.05)


def test_products_of_few_bits_and_of_the_highest_precision_are_told_apart():
    def product(a, b):
        return jnp.matmul(a, b, precision='highest')

    text = 'dot(%a, %b), lhs_contracting_dims={1}, rhs_contracting_dims={0}'
    for dtype, more, kind in (
        ('bf16', '', 'bfloat16'),
        ('f32', '', 'float32'),
        ('f32', ', operand_precision={highest,highest}', 'float32 highest'),
    ):
        lines = [f'%{name} = {dtype}[4,4] parameter({i})' for i, name in enumerate('ab')]
        lines.append(f'ROOT %c = {dtype}[4,4] {text}{more}')
        module = 'HloModule m\n\nENTRY %m (a: f, b: f) -> f {\n  ' + '\n  '.join(lines) + '\n}\n'
        assert costs.of_program(module).products == {kind: 2 * 4**3}
    square = jnp.ones((64, 64))
    assert costs.of_program(compiled(product, square, square).as_text()).products == {
        'float32 highest': 2 * 64**3
    }


def test_collectives_are_told_by_kind_with_what_one_device_sends():
    mesh = Mesh(np.array(jax.devices()[:4]), ('data',), axis_types=(AxisType.Auto,))
    split = NamedSharding(mesh, PartitionSpec('data'))

    def mean(x):
        total = lax.psum(x, 'data')
        return total, lax.all_gather(x, 'data', tiled=True)

    over = jax.shard_map(
        mean,
        mesh=mesh,
        in_specs=PartitionSpec('data'),
        out_specs=(PartitionSpec(), PartitionSpec()),
        check_vma=False,
    )
    shape = jax.ShapeDtypeStruct((8, 5), np.float32, sharding=split)
    found = costs.of_program(compiled(over, shape).as_text()).collectives
    part = 2 * 5 * 4
    assert found['all-reduce'] == (1, part, 2 * 3 / 4 * part)
    assert found['all-gather'] == (1, part, 3 * part)


def test_a_step_for_a_tpu_counts_its_scans_its_collectives_and_whole_tiles():
    step, module = costs.of_step(FOR_V5E), hlo.parse(FOR_V5E)
    met = (3 * 32 - 2) ** 2  # places of a 3x3 kernel on 32x32 that are no padding
    assert sum(step.products.values()) == 5 * 3 * 2 * met * 16 * 16 * 16
    assert step.collectives == {'all-reduce': (5, 5 * 9 * 16 * 16 * 4, 5 * 9 * 256 * 4 * 2 * 7 / 8)}
    weights, images, _ = (one.shapes[0] for _, one in sorted(module.entry.parameters().items()))
    assert weights.bytes == 5 * 9 * 16 * 128 * 4  # 16 channels lie in 128 lanes
    assert images.bytes == 16 * 32 * 16 * 128 * 4 and images.elements == 16 * 32 * 32 * 16
    assert module.partitions == 8 and step.cycles > 0
    # all between the steps stays on the chip: a step moves less than a copy of the weights
    assert step.bytes < weights.bytes < costs.of_program(FOR_V5E).bytes


def test_what_is_cut_from_an_array_counts_and_not_the_array():
    def step(stack, i, x):
        row = lax.dynamic_index_in_dim(stack, i, keepdims=False)
        return lax.dynamic_update_index_in_dim(stack, row + x, i, 0)

    stack, x = jnp.ones((1000, 16)), jnp.ones(16)
    done = jax.jit(step, donate_argnums=0).lower(stack, 3, x).compile()
    assert costs.of_program(done.as_text()).bytes < 10 * x.nbytes


def test_text_that_is_no_program_is_refused():
    with pytest.raises(ValueError, match='ENTRY'):
        hlo.parse('HloModule nothing\n')
