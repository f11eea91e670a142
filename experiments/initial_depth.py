"""How deep is the ensemble of a residual network before it has learnt anything?

    python -m launch.figure --name=initial_depth --workdir=build/initial_depth      (--fast: rough)

Fully connected nets of p = 10 to 1000 layers, He weights, inputs N(0, 1) of the dimension of the
width, no training: E[r] of at most p from the power gains of their blocks, of the signal and of the
gradient, beside what `theory.network_depth` says of infinite width. Nets without norms are drawn as
far as float32 goes: their signal doubles at each block. Branches start at 0 in skipinit, and in
fixup, which is for ResNets: E[r] = 1.

To be expected at infinite width: rms ends at 2.61; the signal of BN after the ReLU is H_p ~ log p,
its gradient 1.467 log p; no norm gives p / 2, or p / 3 where gates that are open half of the time
make beta = 1/2 (eq 16, coherent); branches over sqrt(L) end at 1 + log 2 (2 without norms), over L
at 1; branches over sqrt(l) are H_p without any norm. Theory needs width >> p, which BN after the
ReLU shows (p = 54: -11 % at width 64, -3 % at 512), and one sigma a layer: the gradient of nets
with rms, which has one a unit, is above it at any width.
Device: 2 CPU cores, about two minutes; --fast: seconds.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments import figures, words
from resnet_dyn import config, errors, records
from resnet_dyn.models import branch_scales, presets, stack
from resnet_dyn.plots import initial_depth as picture
from resnet_dyn.theory import network_depth, path_weights

GAINS = ('signal', 'gradient')
EXAMPLES = 256
SEEDS = 3


class Case(NamedTuple):
    """A kind of network."""

    block: str
    norm: str
    scale: str = 'none'


PLAIN = (
    Case('paper', 'batch'),
    Case('paper', 'rms'),
    Case('paper', 'none'),
    Case('preact', 'batch'),
    Case('preact', 'rms'),
)
SCALED = (
    Case('paper', 'none', 'sqrt_index'),
    Case('paper', 'batch', 'sqrt_index'),
    Case('paper', 'none', 'sqrt_depth'),
    Case('paper', 'batch', 'sqrt_depth'),
    Case('paper', 'none', 'depth'),
    Case('paper', 'batch', 'depth'),
    Case('paper', 'none', 'skipinit'),
)
DEPTHS = (10, 20, 54, 110, 300, 1000)
WIDTHS = (64, 512)  # the first of SCALED alone
OF_WHOLE_DEPTH = (
    'sqrt_depth',
    'depth',
)  # scales by L: a net of p layers is no part of a deeper one


class InitialDepth(NamedTuple):
    """E[r] of N cases, C widths, S seeds and P depths; NaN where float32 overflows."""

    blocks_N: np.ndarray
    norms_N: np.ndarray
    scales_N: np.ndarray
    widths_C: np.ndarray
    depths_P: np.ndarray  # p
    signal_NCSP: np.ndarray  # incoherent, from E|branch|^2 / E|skip|^2
    gradient_NCSP: np.ndarray  # incoherent, from |J^T g|^2 / |g|^2, g of random signs
    coherent_NCSP: np.ndarray  # from the gains of the signal
    signal_theory_NP: np.ndarray  # the same at infinite width
    gradient_theory_NP: np.ndarray
    coherent_theory_NP: np.ndarray
    examples: np.ndarray  # ()
    fast: np.ndarray  # ()


def run(
    workdir,
    fast: bool = False,
    changes: Mapping[str, Any] | None = None,
    stop: Callable[[], bool] = lambda: False,
    report: Callable[[str], None] = print,
) -> figures.Result:
    """Measures all cases and writes the picture and its numbers; nothing is kept until the end.

    Files: initial_depth.png, .pdf, .npz (the record with its provenance) and .csv; with `fast`,
    initial_depth_fast.*. Raises ConfigError for `changes`, since the cases are the figure's own.
    """
    if changes:
        raise errors.ConfigError(
            f'config.{next(iter(changes))}: the networks of this figure are its own, so leave it '
            'out'
        )
    cases, widths, depths = (*PLAIN, *SCALED), WIDTHS, DEPTHS
    if fast:
        cases, widths, depths = (*PLAIN, SCALED[0], SCALED[3]), WIDTHS[:1], (10, 54)
    record = measure(cases, widths, depths, SEEDS, EXAMPLES, stop, report)
    if record is None:
        return figures.Result(False)
    record = record._replace(fast=np.array(fast))
    origin = records.provenance(seed=0)
    files = figures.write(workdir, 'initial_depth', record, origin, _table(record), picture.draw)
    return figures.Result(True, files, tuple(_findings(record)))


def measure(
    cases, widths, depths, seeds: int, examples: int, stop=lambda: False, report=lambda line: None
) -> InitialDepth | None:
    """The record of these networks, widths and depths in order; None where it was stopped."""
    means = np.full((3, len(cases), len(widths), seeds, len(depths)), np.nan)
    for n, case in enumerate(cases):
        for c, width in enumerate(widths if case.scale == 'none' else widths[:1]):
            for nets in _nets(case, depths):
                if stop():
                    return None
                for seed, gains_2L in enumerate(_gains(case, width, nets[-1], seeds, examples)):
                    for p in nets:
                        means[:, n, c, seed, depths.index(p)] = mean_depths(gains_2L[:, : p - 1])
        report(f'{_name(case)}: measured')
    theory = [[mean_depths(_theory(case, p)) for p in depths] for case in cases]
    signal, gradient, coherent = np.moveaxis(np.array(theory), -1, 0)
    return InitialDepth(
        *(np.array(words_N) for words_N in zip(*cases, strict=True)),
        np.array(widths),
        np.array(depths),
        *means,
        signal,
        gradient,
        coherent,
        np.array(examples),
        np.array(False),
    )


def mean_depths(powers_2L) -> tuple[float, float, float]:
    """E[r] of power gains (2, L) of signal and gradient: incoherent of both, coherent of the first.

    NaN where a gain is not finite.
    """
    signal_L, gradient_L = np.asarray(powers_2L, np.float64)
    if not np.isfinite(signal_L).all():
        return (np.nan,) * 3
    weights_R = path_weights.log_path_weights_from_gains(np.sqrt(signal_L), coherent=True)
    coherent, _ = path_weights.depth_moments(weights_R)
    return (*(1 + (b2_L / (1 + b2_L)).sum() for b2_L in (signal_L, gradient_L)), float(coherent))


def numbers(record: InitialDepth) -> Iterator[tuple[str, str]]:
    """(claim, numbers) of nets with norms and no scale at p = 10 and 54, of the signal's depth."""
    widths = ', '.join(f'{width:,}' for width in record.widths_C)
    for n, kind in enumerate(zip(record.blocks_N, record.norms_N, record.scales_N, strict=True)):
        case = Case(*map(str, kind))
        if case.norm == 'none' or case.scale != 'none':
            continue
        for p in (10, 54):
            i = list(record.depths_P).index(p)
            measured = [words.plus_minus(values_S) for values_S in record.signal_NCSP[n, :, :, i]]
            yield (
                f'E[r] of untrained nets of p = {p}, {_name(case)}: width {widths}; infinite',
                '; '.join((*measured, f'{record.signal_theory_NP[n, i]:.3g}')),
            )


def _nets(case: Case, depths) -> list[tuple[int, ...]]:
    """The depths that one net serves: its first p layers are a net of depth p, if scales agree."""
    return [(p,) for p in depths] if case.scale in OF_WHOLE_DEPTH else [tuple(depths)]


def _gains(case: Case, width: int, depth: int, seeds: int, examples: int) -> Iterator[np.ndarray]:
    """The power gains (2, L) of the signal and of the gradient in a net of each seed."""
    shape = {'family': 'fully_connected', 'depth': depth, 'width': width}
    kind = {'block': case.block, 'norm': case.norm, 'branch_scale': case.scale}
    model = presets.from_config(config.part('model', {**shape, **kind}), classes=2)

    @jax.jit
    def measured(key):
        weights, inputs, signs = jax.random.split(key, 3)
        x = jax.random.normal(inputs, (examples, width))
        net = stack.from_model(model, model.init(weights, x[:1]), 'batch')
        return power_gains(net, x, signs)

    for seed in range(seeds):
        yield np.asarray(measured(jax.random.key(seed)))


def power_gains(net: stack.ResidualStack, x, key):
    """E|branch|^2 / E|skip|^2 and |J^T g|^2 / |g|^2, (2, L), of blocks whose skip is the identity.

    J is the derivative of a branch at h_l, g random signs; each block has its own.
    """

    def body(stage, params, h, key):
        branch, pull = jax.vjp(lambda h: stack.addends(stage, params, h, None)[0], h)
        (back,) = pull(jax.random.rademacher(key, h.shape, h.dtype))
        signal = (branch**2).mean() / (h**2).mean()
        return stack.join(stage, params, branch, h), jnp.stack([signal, (back**2).mean()])

    h, found = stack.stem(net, x), []
    keys_L = jax.random.split(key, net.num_blocks)
    for stage, part in zip(net.stages, stack.split(net, keys_L), strict=True):
        h, gains_L2 = stack.scan_stage(stage, body, h, part)
        found.append(gains_L2)
    return jnp.concatenate(found).T


def _theory(case: Case, p: int) -> np.ndarray:
    """The power gains (2, L) at infinite width."""
    scales_L = branch_scales.constants(branch_scales.KINDS[case.scale], p - 1)
    if branch_scales.KINDS[case.scale].trained:
        scales_L = 0 * scales_L
    if case.norm == 'none':
        return np.stack([scales_L**2] * 2)
    law = (case.block, case.norm, scales_L)
    return np.stack([network_depth.power_gains(*law, gain=gain) for gain in GAINS])


def _name(case: Case) -> str:
    norm = {'none': 'no norm', 'batch': 'BN', 'rms': 'rms'}[case.norm]
    scale = '' if case.scale == 'none' else f', branches {picture.SCALES[case.scale]}'
    return f'{case.block}, {norm}{scale}'


def _rows(record: InitialDepth) -> Iterator[tuple]:
    """(case, width, p, law, measured (S,), theory) of all that was measured."""
    kinds = zip(record.blocks_N, record.norms_N, record.scales_N, strict=True)
    for n, kind in enumerate(kinds):
        case = Case(*map(str, kind))
        for c, width in enumerate(record.widths_C):
            for i, p in enumerate(record.depths_P):
                for law in picture.LAWS:
                    values_S = getattr(record, f'{law}_NCSP')[n, c, :, i]
                    if np.isfinite(values_S).any():
                        theory = float(getattr(record, f'{law}_theory_NP')[n, i])
                        yield case, int(width), int(p), law, values_S, theory


def _findings(record: InitialDepth) -> Iterator[str]:
    """How far the signal's depth is from theory, per width, where there are norms and no scales."""
    for case, width, p, law, values_S, theory in _rows(record):
        if law == 'signal' and case.norm != 'none' and case.scale == 'none':
            off = 100 * (np.nanmean(values_S) / theory - 1)
            yield (
                f'{_name(case)}, p = {p:,}, width {width}: E[r] {words.plus_minus(values_S)}, '
                f'infinite width {theory:.3g} ({off:+.1f} %)'
            )


def _table(record: InitialDepth) -> Iterator[tuple]:
    """A line a case, width, depth and law: mean and standard deviation over seeds, and theory."""
    kinds = ('block', 'norm', 'branch_scale', 'width', 'p', 'law')
    yield *kinds, 'mean', 'std', 'n', 'theory', 'off'
    for case, width, p, law, values_S, theory in _rows(record):
        mean, std, n = words.over_networks(values_S)
        numbers = (f'{mean:.6g}', f'{std:.6g}', n, f'{theory:.6g}', f'{mean / theory - 1:.4g}')
        yield *case, width, p, law, *numbers
