"""How the S networks of a run go through one compiled function: together, in turn, on devices.

Everything else is written for one network. `vmap` computes all at once; `map` one after the
other, which is faster where XLA has no good kernel for convolutions with several sets of weights.
Where there are several devices the networks are dealt out over them first, along the mesh axis
`seed`; networks never talk to one another.
"""

import math
from collections.abc import Callable, Sequence

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from resnet_dyn import config, fields

AXIS = 'seed'
SPLIT, WHOLE = PartitionSpec(AXIS), PartitionSpec()

# From measurements on the CPU: 4 ResNet-20 a step take 1.01 (map) and 1.7 (vmap) times a loop of
# single steps; 10 nets of the paper take the same within 10 %. Elsewhere a guess until measured.
_FASTER = {
    'cpu': {'fully_connected': 'vmap', 'cifar_resnet': 'map', 'imagenet_resnet': 'map'},
    'elsewhere': {'fully_connected': 'vmap', 'cifar_resnet': 'map', 'imagenet_resnet': 'map'},
}


def settle(cfg: config.Config, stored: config.Config | None = None) -> config.Config:
    """The config with a definite `train.seed_axis`: its own, else the workdir's, else the table's.

    The choices differ in the last bits of the result, so a resumed run keeps the one it began with.
    """
    if cfg.train.seed_axis != 'auto':
        return cfg
    choice = faster(cfg.model.family)
    if stored is not None and stored.train.seed_axis != 'auto':
        choice = stored.train.seed_axis
    return fields.replace(cfg, {'train.seed_axis': choice})


def faster(family: str) -> str:
    """The table's way for networks of a family on the backend at hand: 'vmap' or 'map'."""
    return _FASTER.get(jax.default_backend(), _FASTER['elsewhere'])[family]


def mesh(networks: int, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh of as many of the devices as divide the number of networks."""
    devices = jax.devices() if devices is None else list(devices)
    number = math.gcd(networks, len(devices))
    return Mesh(np.asarray(devices[:number]), (AXIS,), axis_types=(AxisType.Auto,))


def each(function: Callable, how: str) -> Callable:
    """`function(network, *shared)` of one network, as a function of S of them led by an axis S."""

    def together(networks, *shared):
        return jax.vmap(lambda network: function(network, *shared))(networks)

    def in_turn(networks, *shared):
        return jax.lax.map(lambda network: function(network, *shared), networks)

    return {'vmap': together, 'map': in_turn}[how]


def over_devices(function: Callable, mesh: Mesh) -> Callable:
    """`function(networks, shared)`, each device with its networks and all of what is shared.

    Without JAX's check of what varies over the mesh, which loses track of arrays drawn from keys.
    """
    return jax.shard_map(
        function, mesh=mesh, in_specs=(SPLIT, WHOLE), out_specs=SPLIT, check_vma=False
    )


def place(tree, mesh: Mesh, spec: PartitionSpec):
    """The arrays of a tree on the devices of a mesh: SPLIT by network, or WHOLE on each."""
    return jax.device_put(tree, NamedSharding(mesh, spec))
