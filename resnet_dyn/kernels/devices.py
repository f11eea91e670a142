"""What a device holds and what keeps it busy: the sizes that kernels cut their work into."""

import contextlib
import contextvars
import math
import os
import pathlib
from collections.abc import Iterator

import jax

# Elements of activations in one call that keep a device busy. On the CPU more buys nothing:
# batches of ResNets fill it alone. Elsewhere a guess until measured.
_BUSY = {'cpu': 2**19}
_BUSY_ELSEWHERE = 2**25

_PLATFORM = contextvars.ContextVar('platform', default=None)

# Of a control group, by version: where it is mounted, its limit, its use, and the key of the
# part of that use which is a cache of files and would be given up.
_GROUPS = {
    2: ('sys/fs/cgroup', 'memory.max', 'memory.current', 'inactive_file'),
    1: (
        'sys/fs/cgroup/memory',
        'memory.limit_in_bytes',
        'memory.usage_in_bytes',
        'total_inactive_file',
    ),
}


def default_budget(device: jax.Device | None = None) -> int:
    """Half of the memory that is free, in bytes: the device's where it says, else the machine's."""
    device = jax.devices()[0] if device is None else device
    stats = device.memory_stats() if device.platform != 'cpu' else None
    if stats and 'bytes_limit' in stats:
        return (stats['bytes_limit'] - stats.get('bytes_in_use', 0)) // 2
    return available_memory() // 2


@contextlib.contextmanager
def compiling_for(platform: str) -> Iterator[None]:
    """Within, work is cut for devices of a platform (cpu, gpu, tpu), not for those at hand."""
    before = _PLATFORM.set(platform)
    try:
        yield
    finally:
        _PLATFORM.reset(before)


def worth_together(size: int) -> int:
    """How many arrays of `size` elements one call should take to keep the device busy."""
    platform = _PLATFORM.get() or jax.default_backend()
    return math.ceil(_BUSY.get(platform, _BUSY_ELSEWHERE) / size)


def available_memory(root: pathlib.Path = pathlib.Path('/')) -> int:
    """Bytes that this process can still take: of the machine, within its container's limits.

    Available, not free: caches of files are given up. `root` is where proc and sys are.
    """
    return max(0, min([_of_machine(root), *_of_groups(root)]))


def _of_machine(root: pathlib.Path) -> int:
    try:
        return 1024 * _numbers(root / 'proc/meminfo')['MemAvailable:']
    except (OSError, KeyError):  # no Linux
        pages = 'SC_AVPHYS_PAGES' if 'SC_AVPHYS_PAGES' in os.sysconf_names else 'SC_PHYS_PAGES'
        return os.sysconf(pages) * os.sysconf('SC_PAGE_SIZE')


def _of_groups(root: pathlib.Path) -> Iterator[int]:
    """What is left within each limit of the control groups that this process is in."""
    try:
        lines = (root / 'proc/self/cgroup').read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(':', 2)
        if controllers and 'memory' not in controllers.split(','):
            continue
        mount, limit, use, cached = _GROUPS[1 if controllers else 2]
        inside = pathlib.PurePosixPath(path.lstrip('/'))
        # a limit holds for all below it; in a container the path may be one of its host's, which
        # is not there, while its own group is mounted at the top
        for group in (inside, *inside.parents):
            folder = root / mount / group
            try:
                most, used = int((folder / limit).read_text()), int((folder / use).read_text())
                yield most - used + _numbers(folder / 'memory.stat').get(cached, 0)
            except (OSError, ValueError):  # no limit: 'max', or no such file
                continue


def _numbers(path: pathlib.Path) -> dict[str, int]:
    """The first number behind the first word of each line."""
    rows = [line.split() for line in path.read_text().splitlines()]
    return {row[0]: int(row[1]) for row in rows if len(row) > 1}
