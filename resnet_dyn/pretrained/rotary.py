"""Rotary positions: pairs of numbers of a head are turned by an angle that grows with the position.

    (x_i, x_{i + n/2}) <- turned by t f_i,    f_i = theta^(-2i/n),  i < n/2

for the first n numbers of each head; the frequencies f may be scaled for longer texts.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np

from resnet_dyn.pretrained import settings

KINDS = {
    'default': (),
    'linear': ('factor',),
    'llama3': (
        'factor',
        'low_freq_factor',
        'high_freq_factor',
        'original_max_position_embeddings',
    ),
}


@dataclasses.dataclass(frozen=True)
class Rotary:
    """Which numbers are turned and how fast; `scaling` are the numbers that `KINDS` names."""

    width: int  # n, how many numbers of a head
    theta: float
    kind: str = 'default'
    scaling: tuple[float, ...] = ()

    def frequencies(self) -> np.ndarray:
        """f (n/2,), float32 as the reference library has them."""
        n = np.float32(self.width)
        f = 1 / (np.float32(self.theta) ** (np.arange(0, self.width, 2, dtype=np.float32) / n))
        if self.kind == 'linear':
            f = f / np.float32(self.scaling[0])
        if self.kind == 'llama3':
            factor, low, high, length = self.scaling
            waves = 2 * np.pi / f
            smooth = (length / waves - low) / (high - low)
            between = (1 - smooth) * f / factor + smooth * f
            f = np.where(
                waves > length / low, f / factor, np.where(waves < length / high, f, between)
            )
        return f.astype(np.float32)

    def angles(self, positions_BT):
        """t f (B, T, n/2), float32."""
        return positions_BT[..., None].astype(jnp.float32) * self.frequencies()[None, None]


def turn(x_BTHd, angles):
    """The first 2 * angles.shape[-1] numbers of each head turned; the others as they are."""
    cos, sin = (f(angles)[:, :, None].astype(x_BTHd.dtype) for f in (jnp.cos, jnp.sin))
    half = angles.shape[-1]
    a, b, rest = jnp.split(x_BTHd, (half, 2 * half), -1)
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin, rest], -1)


def read(
    config: settings.Settings,
    head: int,
    theta_names: tuple[str, ...] = ('rope_theta',),
    share_names: tuple[str, ...] = (),
    share: float = 1.0,
) -> Rotary:
    """The rotary positions of a config, in its words of today or of the years before.

    `head` is d, the width of a head, `share` the part of it that is turned, unless the config says;
    the names are those of theta and of the share in configs of before.
    """
    theta, share = _first(config, theta_names, 10000.0), _first(config, share_names, share)
    today, before = config.mapping('rope_parameters'), config.mapping('rope_scaling')
    where, values = ('rope_scaling', before) if before else ('rope_parameters', today)
    values = {name: value for name, value in values.items() if value is not None}
    kind = values.pop('rope_type', values.get('type', 'default'))
    values.pop('type', None)
    if kind not in list(KINDS):
        raise config.error(where, kind, f'rope_type of {", ".join(KINDS)}')
    theta = values.pop('rope_theta', theta)
    share = values.pop('partial_rotary_factor', share)
    if share != 1 and not share_names:
        raise config.error(where, {'partial_rotary_factor': share}, 'heads turned as a whole')
    needed = KINDS[kind]
    if 'original_max_position_embeddings' in needed:
        values.setdefault(needed[-1], config.get('max_position_embeddings'))
    numbers = (*values.values(), theta, share)
    if set(values) != set(needed) or not all(_positive(number) for number in numbers):
        words = f'with rope_type={kind!r} positive numbers for {", ".join(needed) or "rope_theta"}'
        raise config.error(where, before or today, words + ' and nothing else')
    width = int(head * share)
    if width % 2 or not 0 < width <= head:
        part = f'{share} of the {head} numbers of a head'
        raise config.error(where, part, 'an even number of turned ones, at least 2')
    return Rotary(width, float(theta), kind, tuple(float(values[name]) for name in needed))


def _first(config: settings.Settings, names: tuple[str, ...], default: float) -> float:
    """The value under the first of several names for one, which must not disagree."""
    found = {name: config.number(name, default) for name in names if config.get(name) is not None}
    if len(set(found.values())) > 1:
        name = list(found)[-1]
        raise config.error(name, found[name], f'the same as {next(iter(found))}')
    return next(iter(found.values()), default)


def _positive(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0
