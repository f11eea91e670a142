"""Three effective depths of a network, in layers, with intervals over examples.

    cosine      the last layer, counted from 0, of cos(layer, h) < 0 before one of >= 0
    divergence  layers passed, from which on KL(lens || output) is below a share of its largest
    overlap     layers passed, from which on the lens and the output have more than a share of
                their 5 likeliest classes in common, of what is above chance

Those of Hu et al. 2025 (arXiv 2512.14064), counted as in their code, but for "from which on" where
that takes the first (`curve_depths`); in a vocabulary there is no chance to speak of. A layer is
what the network says belongs together (`groups`), else a block. Intervals are percentiles over
resamples of the examples, the curves of each example being kept whole.

Source of the bootstrap: Efron 1979.
"""

import dataclasses
from typing import NamedTuple

import numpy as np

from resnet_dyn import fields
from resnet_dyn.analysis import curve_depths, subjects
from resnet_dyn.analysis import depth_use as depth_use_lib
from resnet_dyn.analysis import effort as effort_lib
from resnet_dyn.kernels import depth_curves, depth_use, masks

BY = ('cosine', 'divergence', 'overlap')  # along Q
LEVEL = 0.95


@dataclasses.dataclass(frozen=True)
class Options:
    """Thresholds, and how much is drawn."""

    divergence: float = fields.field(
        0.1, 'share of its largest that the divergence has to be below', above=0, below=1
    )
    overlap: float = fields.field(
        0.2, 'share of the likeliest classes that has to be in common', low=0, below=1
    )
    over: str = fields.field(
        'auto',
        'what a cosine is of: a token, then averaged over those that count; an example as it is; '
        'auto: tokens where the inputs are',
        choices=('auto', 'token', 'example'),
    )
    resamples: int = fields.field(
        1000, 'resamples of the examples, for the intervals', low=40, high=1_000_000, serves='more'
    )


class EffectiveDepth(NamedTuple):
    """Of S networks of U layers, V = U + 1 depths; Q are those of `BY`, in layers."""

    step: np.ndarray  # ()
    cosine_SU: np.ndarray  # means over examples
    divergence_SV: np.ndarray  # nats; NaN where the head does not take h
    overlap_SV: np.ndarray  # likewise
    chance: np.ndarray  # () of the overlap
    depth_SQ: np.ndarray  # NaN where there is none
    low_SQ: np.ndarray  # ends of the intervals; NaN where over 1 in 20 resamples have no depth
    high_SQ: np.ndarray
    lacking_SQ: np.ndarray  # share of the resamples without a depth
    resamples: np.ndarray  # ()


def measure(
    subject: subjects.Subject, effort: effort_lib.Effort, options: Options
) -> EffectiveDepth:
    """One forward pass, and the head at every depth."""
    tokens = subject.examples.tokens if options.over == 'auto' else options.over == 'token'
    found = effort_lib.by_example(
        _curves, subject, effort, layers=subject.stacks[0].groups, tokens=tokens
    )
    chance = depth_use.top(subject.outputs) / subject.outputs
    key = effort_lib.key(subject, 'effective_depth')
    weights_MB = _resamples(key, subject.examples.number, options.resamples)

    def depths(curves_S):
        """(S, Q) of means over examples."""
        return np.array(
            [_depths(*curves, chance, options) for curves in zip(*curves_S, strict=True)]
        )

    means = [curves_SBX.mean(1) for curves_SBX in found]
    rows = [
        _interval(depths([weights_MB @ curves_SBX[s] for curves_SBX in found]))
        for s in range(len(subject.stacks))
    ]
    low_SQ, high_SQ, lacking_SQ = map(np.stack, zip(*rows, strict=True))
    return EffectiveDepth(
        np.array(subject.origin.step),
        *(mean.astype(np.float32) for mean in means),
        chance=np.array(chance),
        depth_SQ=depths(means),
        low_SQ=low_SQ,
        high_SQ=high_SQ,
        lacking_SQ=lacking_SQ,
        resamples=np.array(options.resamples),
    )


def cost(L: int, options: Options) -> effort_lib.Cost:
    """A forward pass, and the head at every depth; fewer where layers are of several blocks."""
    return effort_lib.Cost(1, heads=L + 1)


def sign_change(cosine_U) -> float:
    """The last layer, from 0, that is below 0 before one that is not; NaN where there is none."""
    return depth_use_lib.sign_change(cosine_U) - 1


def _curves(stack, inputs, labels, mask, layers, tokens):
    return depth_curves.curves(stack, inputs, mask, layers=layers, tokens=tokens)


def _depths(cosine_U, divergence_V, overlap_V, chance: float, options: Options):
    share = curve_depths.share_of_largest(divergence_V, options.divergence)
    beyond_V = curve_depths.beyond_chance(overlap_V, chance)
    return (
        sign_change(cosine_U),
        curve_depths.from_on(divergence_V, share, between=False),
        curve_depths.from_on(-beyond_V, -options.overlap, between=False),
    )


def _resamples(key, examples: int, number: int) -> np.ndarray:
    """(M, B): how often each example is in each resample, over B."""
    generator = masks.host_generator(key)
    return generator.multinomial(examples, [1 / examples] * examples, size=number) / examples


def _interval(depths_MQ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    lacking_Q = np.isnan(depths_MQ).mean(0)
    ends_2Q = np.full((2, depths_MQ.shape[1]), np.nan)
    for q, lacking in enumerate(lacking_Q):
        if lacking <= 1 - LEVEL:
            tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
            ends_2Q[:, q] = np.nanquantile(depths_MQ[:, q], tails, method='closest_observation')
    return ends_2Q[0], ends_2Q[1], lacking_Q
