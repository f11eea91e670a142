"""Which of several processes this one is: by hand, by Slurm, by Open MPI, or on a TPU pod."""

import pathlib
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from absl import flags

_WORLD = 'OMPI_COMM_WORLD_SIZE'
_PORTS = range(61_440, 65_536)  # as JAX takes under Open MPI up to version 4
_SLURM = ('SLURM_JOB_ID', 'SLURM_STEP_NODELIST', 'SLURM_NTASKS', 'SLURM_PROCID', 'SLURM_LOCALID')


class Place(NamedTuple):
    """Which of several processes this one is; `given` is for JAX, nothing where it looks itself."""

    where: str  # in words, who says so
    given: Mapping[str, Any]


def by_hand(address: str, number: int, count: int) -> Place | None:
    """The place of process `number` of `count`, given by flags; None for one process alone.

    Raises a flag error for an address that is not HOST:PORT, or a number that is not below `count`.
    """
    host, colon, port = address.rpartition(':')
    if not (colon and host and port.isdecimal() and 0 < int(port) < 65536):
        raise flags.ValidationError(
            f'--coordinator={address!r} is not HOST:PORT: name the machine of process 0 and a free '
            'port there, as in --coordinator=127.0.0.1:8476'
        )
    if number >= count:
        raise flags.ValidationError(
            f'--process_id={number} of --num_processes={count}: it is one of 0..{count - 1}'
        )
    return Place('--coordinator', _told(address, number, count)) if count > 1 else None


def found(environment: Mapping[str, str]) -> Place | None:
    """The place that the environment says, as what started this process set it; None: alone.

    Raises a flag error where there are several, and nothing says where process 0 is.
    """
    return _slurm(environment) or _open_mpi(environment) or _tpu_pod(environment)


def _told(address: str, number: int, count: int) -> dict[str, Any]:
    """What JAX is told where it has nothing to find out."""
    given = {
        'coordinator_address': address,
        'process_id': number,
        'num_processes': count,
        'cluster_detection_method': 'deactivate',
    }
    host = address.rpartition(':')[0]
    if host == 'localhost' or host.startswith('127.') or host == '[::1]':
        given['coordinator_bind_address'] = address  # not on all of the machine's addresses
    return given


def _slurm(environment: Mapping[str, str]) -> Place | None:
    """A step of several tasks; a shell within a job, or a job's script, is one process."""
    tasks = environment.get('SLURM_STEP_NUM_TASKS', '')
    if not (tasks.isdecimal() and int(tasks) > 1 and all(name in environment for name in _SLURM)):
        return None
    return Place(f'Slurm ({tasks} tasks)', {})


def _open_mpi(environment: Mapping[str, str]) -> Place | None:
    size = environment.get(_WORLD, '')
    if not (size.isdecimal() and int(size) > 1):
        return None
    where = f'Open MPI ({size} processes)'
    if 'OMPI_MCA_orte_hnp_uri' in environment:
        return Place(where, {})
    rank, job = (environment.get(name, '') for name in ('OMPI_COMM_WORLD_RANK', 'PMIX_NAMESPACE'))
    if environment.get('OMPI_COMM_WORLD_LOCAL_SIZE') == size and rank.isdecimal() and job:
        port = _PORTS[zlib.crc32(job.encode()) % len(_PORTS)]  # the same for all of the job
        return Place(where, _told(f'127.0.0.1:{port}', int(rank), int(size)))
    raise flags.ValidationError(
        f'{_WORLD}={size}, and this Open MPI does not say where process 0 is, as those up to '
        'version 4 do: give --coordinator=HOST:PORT --process_id=$OMPI_COMM_WORLD_RANK '
        f'--num_processes={size}'
    )


def _tpu_pod(environment: Mapping[str, str]) -> Place | None:
    """A TPU of several workers; JAX is imported where there may be a TPU at all."""
    platforms = environment.get('JAX_PLATFORMS', '')
    devices = (*pathlib.Path('/dev').glob('accel*'), *pathlib.Path('/dev').glob('vfio/[0-9]*'))
    if (platforms and 'tpu' not in platforms) or not devices:
        return None
    from jax._src import clusters  # JAX's own, which knows the kinds of pods

    for kind in (clusters.GkeTpuCluster, clusters.GceTpuCluster):
        if kind.is_env_present() and kind.get_process_count() > 1:
            return Place(f'the TPU pod ({kind.get_process_count()} workers)', {})
    return None
