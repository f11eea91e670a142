"""The flag `--mesh` of launchers that compute: how many devices lie along each axis."""

from collections.abc import Sequence

from absl import flags

_MESH = flags.DEFINE_string(
    'mesh',
    None,
    'how many devices lie along each axis. Of a training, as in seed:2,data:4: networks, the batch '
    'of each; unset: as many as divide, along seed first. Of an analysis, as in mask:4,data:2: '
    'lesioned networks, examples; unset: all along data',
)


def given(axes: Sequence[str]) -> dict[str, int] | None:
    """The sizes that were given to some of the axes, None for none; ConfigError for others."""
    from resnet_dyn.models import placement

    return None if _MESH.value is None else placement.parse(_MESH.value, axes)
