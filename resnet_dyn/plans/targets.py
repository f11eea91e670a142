"""What a plan is made for: chips that are only described, or the devices at hand."""

import importlib.util
from collections.abc import Sequence
from typing import NamedTuple

import jax

from resnet_dyn import errors
from resnet_dyn.kernels import devices as devices_lib
from resnet_dyn.plans import chips

_PACKAGE = 'libtpu'


class Target(NamedTuple):
    """Devices to compile for."""

    name: str
    devices: Sequence[jax.Device]
    chip: chips.Chip | None  # None: nothing is known of its rates
    share: float  # of a chip that a device is
    memory: float  # bytes that a device has

    @property
    def platform(self) -> str:
        """cpu, gpu or tpu."""
        return self.devices[0].platform


def check_installed(name: str) -> None:
    """ConfigError, with how to install it, where what compiles for TPUs is not there."""
    if importlib.util.find_spec(_PACKAGE) is None:
        raise errors.ConfigError(
            f'to compile for {name} takes {_PACKAGE}, which is not installed (no TPU is needed): '
            "pip install -c constraints.txt -e '.[tpu]', on Linux"
        )


def of_topology(topology: chips.Topology) -> Target:
    """The chips of a topology, which need not be there (`backend.compile_for_tpus` before JAX).

    ConfigError where no chips are joined in that way.
    """
    from jax.experimental import topologies

    check_installed(topology.name)
    x, y, *_ = topology.shape
    try:
        found = topologies.get_topology_desc(
            platform='tpu',
            topology_name=topology.name,
            chips_per_host_bounds=(min(x, 2), min(y, 2), 1),
        )
    except (jax.errors.JaxRuntimeError, RuntimeError) as error:
        raise errors.ConfigError(
            f'topology={topology.name}: these chips cannot be had in this shape, or '
            f'{_PACKAGE} does not know them ({errors.reason(error)}): take one of the shapes of '
            f'{topology.chip.source}'
        ) from error
    devices = found.devices
    number = 1
    for size in topology.shape:
        number *= size
    share = number / len(devices)
    return Target(topology.name, devices, topology.chip, share, share * topology.chip.memory)


def at_hand() -> Target:
    """All devices that JAX has here."""
    devices = jax.devices()
    first = devices[0]
    stats = first.memory_stats() if first.platform != 'cpu' else None
    if stats and 'bytes_limit' in stats:
        memory = stats['bytes_limit']
    else:
        memory = devices_lib.available_memory() / len(devices)
    name = f'{len(devices)} x {first.device_kind}' if len(devices) > 1 else first.device_kind
    return Target(name, devices, chips.of_kind(first.device_kind), 1.0, memory)
