"""What a device holds and what keeps it busy: the sizes that kernels cut their work into."""

import math
import os

import jax

# Elements of activations in one call that keep a device busy. On the CPU more buys nothing:
# batches of ResNets fill it alone. Elsewhere a guess until measured.
_BUSY = {'cpu': 2**18}
_BUSY_ELSEWHERE = 2**25


def default_budget(device: jax.Device | None = None) -> int:
    """Half of the memory that is free, in bytes: the device's where it says, else the machine's."""
    device = jax.devices()[0] if device is None else device
    stats = device.memory_stats() if device.platform != 'cpu' else None
    if stats and 'bytes_limit' in stats:
        return (stats['bytes_limit'] - stats.get('bytes_in_use', 0)) // 2
    return os.sysconf('SC_AVPHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') // 2


def worth_together(size: int) -> int:
    """How many arrays of `size` elements one call should take to keep the device busy."""
    return math.ceil(_BUSY.get(jax.default_backend(), _BUSY_ELSEWHERE) / size)
