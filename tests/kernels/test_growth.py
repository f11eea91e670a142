"""Slopes, drives and brackets against all 2^8 paths of a ReLU net, each with its own gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference_values_paths as reference

from resnet_dyn.kernels import growth, masks
from resnet_dyn.models import stack

PATHS = masks.all_masks(8)


def branch(weights, h):
    into, out = weights
    return reference.SCALE * jax.nn.relu(h @ into.T) @ out.T


def read_out(h):
    return (h @ jnp.asarray(reference.READOUT, h.dtype)).sum()


def of_one_path(path_L, gates_LU):
    """F_P and its gradient by both matrices of all blocks, ReLUs as `gates_LU` has them."""
    used = np.flatnonzero(path_L)
    into, out = np.zeros_like(reference.IN), np.zeros_like(reference.OUT)
    below, above = {}, {}
    a, b = reference.STEM, reference.READOUT
    for l in used:
        below[l] = a
        a = reference.SCALE * reference.OUT[l] @ (gates_LU[l] * (reference.IN[l] @ a))
    for l in used[::-1]:
        above[l] = b
        b = reference.SCALE * reference.IN[l].T @ (gates_LU[l] * (reference.OUT[l].T @ b))
    for l in used:
        out[l] = reference.SCALE * np.outer(above[l], gates_LU[l] * (reference.IN[l] @ below[l]))
        into[l] = reference.SCALE * np.outer(
            gates_LU[l] * (reference.OUT[l].T @ above[l]), below[l]
        )
    return reference.READOUT @ a, np.concatenate([into.ravel(), out.ravel()])


@pytest.fixture(scope='module')
def paths():
    """(F_P, g_P) of all paths, (256,) and (256, 400)."""
    h, gates = reference.STEM, []
    for into, out in zip(reference.IN, reference.OUT, strict=True):
        inner = into @ h
        gates.append(inner > 0)
        h = h + reference.SCALE * out @ np.maximum(inner, 0)
    values, gradients = zip(*(of_one_path(path_L, gates) for path_L in PATHS), strict=True)
    return np.array(values), np.array(gradients)


@pytest.fixture(scope='module')
def found():
    """(g, what is seen along it) of the net as a stack, in float64."""

    @jax.jit
    def both(net, x):
        g = growth.gradient(net, x, read_out)
        return g, growth.along(net, x, read_out, g)

    with jax.enable_x64(True):
        stages = (stack.Stage((reference.IN, reference.OUT), branch, 8),)
        net = stack.ResidualStack((), stages, (), lambda p, x: x, lambda p, h: h)
        g, along = both(net, reference.STEM[None])
        return np.concatenate([np.ravel(part) for part in g]), jax.tree.map(np.asarray, along)


def test_the_gradient_is_the_sum_over_paths(found, paths):
    np.testing.assert_allclose(found[0], paths[1].sum(0), rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(found[1].output_B, [paths[0].sum()], rtol=1e-10)


def test_slope_and_drive_of_a_branch_are_those_of_the_paths_through_it(found, paths):
    """drive_l = g_p . (g_p + g_m), p the paths that use branch l."""
    values_P, gradients_P = paths
    g, along = found
    slopes_L, through_L = PATHS.T @ values_P, PATHS.T @ gradients_P
    np.testing.assert_allclose(along.slope_LB[:, 0], slopes_L, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(along.drive_L, through_L @ g, rtol=1e-9, atol=1e-12)


def test_brackets_weigh_paths_by_their_branches_and_by_their_matrices(found, paths):
    _, gradients_P = paths
    g, along = found
    shares_P, k_P = gradients_P @ g, PATHS.sum(1)
    by_length = ((k_P + 1) * shares_P).sum()
    np.testing.assert_allclose(g @ g + along.drive_L.sum(), by_length, rtol=1e-10)
    by_matrices = (2 * k_P * shares_P).sum()  # each branch has two
    np.testing.assert_allclose(g @ g + along.curvature, by_matrices, rtol=1e-10)


def test_weights_are_the_arrays_of_two_axes_in_a_block_and_no_others():
    def arrays(*shapes):
        return [np.zeros(shape, np.float32) for shape in shapes]

    stages = (stack.Stage((*arrays((3, 4, 4), (3, 4)), np.zeros((3, 2, 2), int)), None, 3),)
    net = stack.ResidualStack(arrays((5, 4), (4,)), stages, arrays((4, 2)), None, None)
    assert [w.shape for w in growth.weights(net)] == [(5, 4), (3, 4, 4), (4, 2)]
