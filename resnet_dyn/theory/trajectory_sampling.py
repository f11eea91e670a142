"""Draws of the spin glass along a path, exact in law, where its tensors would not fit in memory.

H and grad H at the points x_0, x_1, .. of a path are jointly Gaussian. With h = H / sqrt(Lambda),
unit vectors xi = x / sqrt(Lambda), t = xi_i.xi_j and v_ij(t) = sum_r eps_r(i) eps_r(j) t^r
(the mixture may change from step to step, the tensors do not):

    E[h_i h_j] = v_ij,   E[h_i d_k H_j] = v'_ij xi_ik,
    E[d_k H_i d_l H_j] = v'_ij delta_kl + v''_ij xi_jk xi_il

So each new (H, grad H) is drawn from its law given all earlier ones, and the next point may
depend on it. In directions orthogonal to all points so far, the components of the gradients are
independent of everything else, with covariance v'_ij in each: only the components within the
span of the points, about T^2 numbers for T points, need a joint Cholesky factor. Memory
8 T^2 (1 + min(T, Lambda))^2 bytes; Lambda itself hardly matters.

Host, NumPy, float64. "Exact" up to a relative jitter of 1e-10 in each variance, which stands in
for variances that are exactly zero (in a pure model w.grad H = r H).
"""

import math
from typing import NamedTuple

import jax
import numpy as np
from scipy import linalg
from scipy.linalg import blas

from resnet_dyn.theory import spin_glass

_JITTER = 1e-10
_NO_NEW_DIRECTION = 1e-8


class Trajectory(NamedTuple):
    """T visited points (NumPy, float64): points_TD, H in energies_T, grad H in gradients_TD."""

    points_TD: np.ndarray
    energies_T: np.ndarray
    gradients_TD: np.ndarray


def sample_trajectory(key, state, observe, move, steps, max_bytes=spin_glass.MAX_BYTES):
    """One draw of H along a path that may depend on what it meets.

    Args:
      key: a JAX key; it seeds a NumPy generator.
      state: whatever the path carries, a point w for instance.
      observe: state -> (w (Lambda,) on |w|^2 = Lambda, mixture {r: eps_r^2}); the same r always.
      move: (state, H, grad H (Lambda,) in the surrounding space) -> the next state.
      steps: the number T of points visited.
      max_bytes: what the Cholesky factor may take.

    Returns:
      (`Trajectory`, the state after the last move).

    Raises:
      ValueError: steps < 1, a factor of more than `max_bytes`, a w off the sphere, or lengths r
        that change.
    """
    if steps < 1:
        raise ValueError(f'steps is {steps}; a path has at least 1 point')
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).tolist())
    path = None
    for step in range(steps):
        w, mixture = observe(state)
        w = np.asarray(w, np.float64)
        mixture = spin_glass.normalised(mixture)
        if path is None:
            path = _Path(w.size, tuple(mixture), steps, max_bytes)
        energy, gradient = path.visit(step, w, mixture, rng)
        state = move(state, energy, gradient)
    return Trajectory(path.points_TD, path.energies_T, path.gradients_TD), state


class _Path:
    """What has been seen so far, and the Cholesky factor of what lies in the span of the points.

    The factor's rows are components of one point each: row_points their step, row_directions
    the direction of the frame, or -1 for h. `white` holds the independent normals behind them.
    """

    def __init__(self, Lambda, lengths, steps, max_bytes):
        rows = steps * (1 + min(steps, Lambda))
        if 8 * rows**2 > max_bytes:
            raise ValueError(
                f'{steps} points at Lambda = {Lambda} need a factor of {8 * rows**2:,} bytes, more '
                f'than max_bytes = {max_bytes:,}; take fewer points'
            )
        self.lengths_R = np.array(lengths)
        self.radius = math.sqrt(Lambda)
        self.points_TD = np.zeros((steps, Lambda))
        self.gradients_TD = np.zeros((steps, Lambda))
        self.energies_T = np.zeros(steps)
        self.amplitudes_TR = np.zeros((steps, len(lengths)))
        self.slopes_TT = np.zeros((steps, steps))
        self.frame_ND = np.zeros((min(steps, Lambda), Lambda))
        self.coordinates_TN = np.zeros((steps, min(steps, Lambda)))
        self.factor = np.zeros((rows, rows))
        self.white = np.zeros(rows)
        self.row_points = np.zeros(rows, int)
        self.row_directions = np.zeros(rows, int)
        self.rows = self.directions = 0

    def visit(self, step, w, mixture, rng):
        """Draws (H, grad H) at w given all that was seen before."""
        self._place(step, w, mixture)
        kernels = self._kernels(step)
        self.slopes_TT[step, : step + 1] = self.slopes_TT[: step + 1, step] = kernels[1]
        slopes = self.slopes_TT[:step, :step]
        past = linalg.cholesky(slopes + _JITTER * np.diag(np.diag(slopes)), lower=True)
        if self._extend_frame(w):
            self._append_seen(step, past)
        self.coordinates_TN[step] = self.frame_ND @ w / self.radius
        inside = self._draw_inside(step, kernels, rng)
        weights = linalg.cho_solve((past, True), kernels[1][:step])
        spread = max(kernels[1][step] - weights @ kernels[1][:step], 0.0)
        outside = weights @ self.gradients_TD[:step] + math.sqrt(spread) * rng.normal(size=w.size)
        frame_ND = self.frame_ND[: self.directions]
        self.energies_T[step] = self.radius * inside[0]
        self.gradients_TD[step] = outside + (inside[1:] - frame_ND @ outside) @ frame_ND
        return self.energies_T[step], self.gradients_TD[step].copy()

    def _place(self, step, w, mixture):
        if tuple(mixture) != tuple(self.lengths_R):
            raise ValueError(
                f'the mixture has lengths {tuple(mixture)} at step {step}; expected those of step '
                f'0, {tuple(self.lengths_R.tolist())}'
            )
        if w.shape != self.points_TD[0].shape or abs(w @ w / self.radius**2 - 1) > 1e-6:
            raise ValueError(
                f'w has shape {w.shape} and |w|^2 = {np.sum(w * w):.6g} at step {step}; expected '
                f'{self.radius**2:.6g} entries and |w|^2 = Lambda'
            )
        self.points_TD[step] = w
        self.amplitudes_TR[step] = np.sqrt(list(mixture.values()))

    def _kernels(self, step):
        """(v_ij, v'_ij, v''_ij) between the points up to now and the newest, each (step + 1,)."""
        cosines_T1 = (self.points_TD[: step + 1] @ self.points_TD[step] / self.radius**2)[:, None]
        weights_TR = self.amplitudes_TR[: step + 1] * self.amplitudes_TR[step]
        r = self.lengths_R
        return (
            (weights_TR * cosines_T1**r).sum(1),
            (weights_TR * r * cosines_T1 ** (r - 1)).sum(1),
            (weights_TR * r * (r - 1) * cosines_T1 ** np.maximum(r - 2, 0)).sum(1),
        )

    def _extend_frame(self, w):
        """Adds the part of w that is new to the orthonormal frame; False if there is none."""
        frame_ND = self.frame_ND[: self.directions]
        new = w / self.radius
        for _ in range(2):
            new = new - (frame_ND @ new) @ frame_ND
        size = np.linalg.norm(new)
        if size < _NO_NEW_DIRECTION or self.directions == len(self.frame_ND):
            return False
        self.frame_ND[self.directions] = new / size
        self.directions += 1
        return True

    def _append_seen(self, step, past):
        """Moves the past gradients' components along the newest direction into the factor."""
        newest = self.directions - 1
        seen = self.gradients_TD[:step] @ self.frame_ND[newest]
        white = _solve_lower(past, seen)
        self._append(
            np.arange(step), np.full(step, newest), np.zeros((step, self.rows)), past, white
        )

    def _draw_inside(self, step, kernels, rng):
        """Draws h and the gradient's components in the span; appends them to the factor."""
        own_points = np.full(1 + self.directions, step)
        own_directions = np.arange(-1, self.directions)
        past_points, past_directions = (
            rows[: self.rows] for rows in (self.row_points, self.row_directions)
        )
        own = self._covariances(own_points, own_directions, step, kernels)
        cross = self._covariances(past_points, past_directions, step, kernels)
        reach = _solve_lower(self.factor[: self.rows, : self.rows], cross).T
        left = own + _JITTER * np.diag(np.diag(own)) - reach @ reach.T
        left = linalg.cholesky(left, lower=True)
        white = rng.normal(size=1 + self.directions)
        drawn = reach @ self.white[: self.rows] + left @ white
        self._append(own_points, own_directions, reach, left, white)
        return drawn

    def _covariances(self, points, directions, step, kernels):
        """Of the given rows with (h, d_0 H, d_1 H, ..) at the newest point: (rows, 1 + N)."""
        value, slope, curvature = (kernel[points, None] for kernel in kernels)
        xi_N = self.coordinates_TN[:, : self.directions]
        of_row, of_newest = xi_N[points], xi_N[step][directions, None]
        same = directions[:, None] == np.arange(self.directions)
        of_energy = np.concatenate([value, slope * of_row], 1)
        of_slope = np.concatenate(
            [slope * of_newest, slope * same + curvature * of_newest * of_row], 1
        )
        return np.where(directions[:, None] < 0, of_energy, of_slope)

    def _append(self, points, directions, reach, left, white):
        start, stop = self.rows, self.rows + len(points)
        self.row_points[start:stop], self.row_directions[start:stop] = points, directions
        self.factor[start:stop, :start] = reach
        self.factor[start:stop, start:stop] = left
        self.white[start:stop] = white
        self.rows = stop


def _solve_lower(factor, right):
    """factor^-1 right. BLAS itself: scipy's solve_triangular is 200 times slower when small."""
    if not right.size:
        return right
    solved = blas.dtrsm(1.0, factor, right.reshape(len(right), -1), lower=1)
    return solved.reshape(right.shape)
