"""Where arrays lie: meshes of devices, made here alone and handed down.

    seed x data    training: networks along `seed`, the batch of each along `data`
    mask x data    kernels: examples along `data`, lesioned networks along `mask`

Networks never talk to one another. What is computed of a batch along `data` is that of the whole
batch, the statistics of norms too: XLA adds up what each device has of it, so that the numbers are
those of one device but for the order of sums. Of convolutions that are vmapped over several
networks XLA gathers the batch instead, which gains nothing: `train.seed_axis` map deals it out.

A mesh may span several processes, each with the same arrays on its host: `place` and `gather` are
then collective, called by all of them in the same order.
"""

import contextlib
import contextvars
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import jax
import numpy as np
from jax import dtypes, lax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from resnet_dyn import errors, fields
from resnet_dyn.models import stages

SEED, DATA, MASK = 'seed', 'data', 'mask'
TRAINING, KERNELS = (SEED, DATA), (MASK, DATA)

SPLIT, WHOLE = PartitionSpec(SEED), PartitionSpec()
EXAMPLES = PartitionSpec(DATA)  # led by examples
JOBS = PartitionSpec(KERNELS)  # led by one of something for each device of a mesh of kernels
BATCHES = PartitionSpec(None, DATA)  # led by batches of examples

_SHAPES_ALONE = contextvars.ContextVar('shapes_alone', default=False)


def mesh(
    networks: int,
    batch_size: int,
    devices: Sequence[jax.Device] | None = None,
    sizes: Mapping[str, int] | None = None,
) -> Mesh:
    """The mesh (seed, data) of a training, of `devices`, all of JAX's unless given.

    The rule: `seed` divides the networks, `data` the batch; as many devices as that lets work, and
    of equally many as much as can be along `seed`. `sizes` by axis take its place, 1 for an axis
    that is not named. ConfigError where they do not fit, or where a process would have no device.
    """
    devices = _in_order(devices)
    if sizes is None:
        sizes = _most(networks, batch_size, len(devices))
    sizes = {SEED: 1, DATA: 1} | dict(sizes)
    wholes = {SEED: (networks, 'networks'), DATA: (batch_size, 'examples of a batch')}
    return _made(TRAINING, sizes, devices, wholes)


def kernel_mesh(
    devices: Sequence[jax.Device] | None = None, sizes: Mapping[str, int] | None = None
) -> Mesh:
    """The mesh (mask, data) of kernels, of `devices`, those of this process unless given.

    All along `data` unless there are `sizes`: sub-networks share most of their prefixes where they
    are walked together, and what is compiled is so once for all devices, while each place along
    `mask` has programs of its own. What has no masks uses all devices, however they are laid.
    ConfigError where the sizes do not fit.
    """
    devices = own_devices() if devices is None else list(devices)
    sizes = {DATA: len(devices)} if sizes is None else sizes
    return _made(KERNELS, {MASK: 1, DATA: 1} | dict(sizes), devices, {})


def own_devices() -> list[jax.Device]:
    """The devices of this process."""
    return jax.local_devices()


def portions(number: int, devices: Sequence[jax.Device] | None = None) -> list[list[jax.Device]]:
    """`number` parts of the devices for what runs at the same time: programs of several devices
    that are begun in two orders wait for one another for ever. A device is in several parts only
    where there are fewer of them, and then alone.
    """
    devices = own_devices() if devices is None else list(devices)
    return [devices[i::number] or [devices[i % len(devices)]] for i in range(number)]


def parse(text: str, axes: Sequence[str]) -> dict[str, int]:
    """The sizes that a text like 'seed:2,data:4' gives to some of the axes; ConfigError else."""
    sizes: dict[str, int] = {}
    for part in text.split(','):
        axis, colon, size = (word.strip() for word in part.partition(':'))
        if axis not in axes:
            hint = fields.nearest(axis, axes) if axis else ''
            raise errors.ConfigError(
                f'mesh={text!r} has the axis {axis!r}: it is made of {" and ".join(axes)}, as in '
                f'{_as_text(dict.fromkeys(axes, 2))}{hint}'
            )
        if not (colon and size.isdecimal() and int(size)) or axis in sizes:
            raise errors.ConfigError(
                f'mesh={text!r} does not give {axis} one size: give each axis once, with a number '
                f'of devices from 1 on, as in {_as_text(dict.fromkeys(axes, 2))}'
            )
        sizes[axis] = int(size)
    return sizes


def words(mesh: Mesh, devices: Sequence[jax.Device] | None = None, why: str = '') -> str:
    """A mesh for people, '8 cpu devices: seed 2 x data 4', with how many of `devices` are idle."""
    idle = len(_in_order(devices)) - mesh.size
    text = f'{mesh.size} {mesh.devices.flat[0].platform} device{"s" if mesh.size > 1 else ""}'
    if mesh.size > 1:
        used = (f'{axis} {size}' for axis, size in mesh.shape.items() if size > 1)
        text += f': {" x ".join(used)}'
    if idle > 0:
        text += f' ({idle} of {idle + mesh.size} idle{why and f": {why}"})'
    return text


def over_networks(function: Callable, mesh: Mesh, split: int = 1) -> Callable:
    """`function(*networks, shared)`: each place along `seed` has its networks, the first `split`
    arguments, and all that is shared; along `data` XLA deals out as arguments and `along_data` say.

    Without JAX's check of what varies over the mesh, which loses track of arrays drawn from keys.
    """
    return jax.shard_map(
        function,
        mesh=mesh,
        in_specs=(SPLIT,) * split + (WHOLE,),
        out_specs=SPLIT,
        axis_names={SEED},
        check_vma=False,
    )


def along_data(tree, mesh: Mesh):
    """Within a compiled function: arrays led by examples, dealt out along `data`."""
    if shards(mesh) == 1:
        return tree
    return lax.with_sharding_constraint(tree, EXAMPLES)


def of_examples(size: int, mesh: Mesh) -> PartitionSpec:
    """How `size` examples lie on a mesh: along `data` where they divide, else whole on each."""
    return WHOLE if size % shards(mesh) else EXAMPLES


@contextlib.contextmanager
def shapes_alone() -> Iterator[None]:
    """Within, nothing is put anywhere: `place` and `place_rows` give shapes with their shardings.

    For programs that are compiled for devices that are not there, or have no data.
    """
    before = _SHAPES_ALONE.set(True)
    try:
        yield
    finally:
        _SHAPES_ALONE.reset(before)


def place(tree, mesh: Mesh, spec: PartitionSpec):
    """The arrays of a tree on the devices of a mesh: SPLIT by network, WHOLE on each, ..."""
    sharding = NamedSharding(mesh, spec)
    if _SHAPES_ALONE.get():
        return jax.tree.map(lambda leaf: _shape(leaf.shape, leaf.dtype, sharding), tree)
    if sharding.is_fully_addressable:
        return jax.device_put(tree, sharding)
    return jax.tree.map(lambda leaf: _put(leaf, sharding), tree)


def deal(trees: Sequence, mesh: Mesh):
    """Trees of one form, one for each device of a mesh of kernels, as one tree of JOBS."""
    sharding, devices = NamedSharding(mesh, JOBS), list(mesh.devices.flat)
    parts = [
        jax.device_put(stages.stacked([tree]), device)
        for tree, device in zip(trees, devices, strict=True)
    ]

    def one(*leaves):
        shape = (len(leaves), *leaves[0].shape[1:])
        return jax.make_array_from_single_device_arrays(shape, sharding, list(leaves))

    return jax.tree.map(one, *parts)


def places_of_masks(mesh: Mesh, whole: bool = False) -> list[Mesh]:
    """A mesh along `data` for each place along `mask`, of one device for what is left `whole`."""
    if unknown := set(mesh.axis_names) - set(KERNELS):
        raise ValueError(f'mesh axes {sorted(unknown)}: a walk knows mask and data alone')
    if MASK in mesh.axis_names:
        rows = np.moveaxis(mesh.devices, mesh.axis_names.index(MASK), 0)
    else:
        rows = mesh.devices[None]
    rows = rows.reshape(len(rows), -1)[:, : 1 if whole else None]
    return [Mesh(row, (DATA,), axis_types=(AxisType.Auto,)) for row in rows]


def shards(mesh: Mesh | None) -> int:
    """Over how many devices examples are dealt out along `data`."""
    return 1 if mesh is None else mesh.shape.get(DATA, 1)


def own_rows(size: int, mesh: Mesh) -> slice:
    """Of `size` examples dealt out along `data`, those that the devices of this process hold."""
    if _SHAPES_ALONE.get():
        return slice(0, size)
    held = NamedSharding(mesh, EXAMPLES).addressable_devices_indices_map((size,)).values()
    spans = [rows.indices(size) for (rows,) in held]
    return slice(min(start for start, *_ in spans), max(stop for _, stop, _ in spans))


def place_rows(tree, size: int, mesh: Mesh):
    """Arrays (I, rows, ..) on the mesh as BATCHES: I batches of `size`, here their `own_rows`."""
    sharding, first = NamedSharding(mesh, BATCHES), own_rows(size, mesh).start

    def put(array):
        if _SHAPES_ALONE.get():
            return _shape((len(array), size, *array.shape[2:]), array.dtype, sharding)

        def part(index):
            start, stop, _ = index[1].indices(size)
            return array[index[0], start - first : stop - first]

        return jax.make_array_from_callback((len(array), size, *array.shape[2:]), sharding, part)

    return jax.tree.map(put, tree)


def gather(tree):
    """The arrays of a tree, whole, as NumPy arrays on the host of every process.

    They may be views of the devices' memory: copy what is to outlive a donated array.
    """
    leaves, form = jax.tree.flatten(tree)
    far: dict[Mesh, list[int]] = {}
    for i, leaf in enumerate(leaves):
        if isinstance(leaf, jax.Array) and not (
            leaf.is_fully_addressable or leaf.is_fully_replicated
        ):
            far.setdefault(leaf.sharding.mesh, []).append(i)
    for where, places in far.items():
        near = _everywhere(where)([leaves[i] for i in places])
        for i, leaf in zip(places, near, strict=True):
            leaves[i] = leaf
    return jax.device_get(jax.tree.unflatten(form, leaves))


def _shape(shape, dtype, sharding: NamedSharding) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)


def _in_order(devices: Sequence[jax.Device] | None) -> list[jax.Device]:
    """The devices, those of one process together."""
    devices = jax.devices() if devices is None else devices
    return sorted(devices, key=lambda device: device.process_index)


def _most(networks: int, batch_size: int, devices: int) -> dict[str, int]:
    pairs = [
        (seed, data)
        for seed in range(1, min(networks, devices) + 1)
        for data in range(1, min(batch_size, devices // seed) + 1)
        if networks % seed == 0 and batch_size % data == 0
    ]
    seed, data = max(pairs, key=lambda pair: (math.prod(pair), pair))
    return {SEED: seed, DATA: data}


def _made(axes, sizes: Mapping[str, int], devices, wholes) -> Mesh:
    """A mesh of `sizes` that divide their `wholes`: (number, what it counts) by axis."""
    text = _as_text(sizes)
    number = math.prod(sizes.values())
    if number > len(devices):
        raise errors.ConfigError(
            f'a mesh of {text} needs {number} devices, and there are {len(devices)}: lower one of '
            'its sizes, or leave it unset'
        )
    for axis, (whole, what) in wholes.items():
        if whole % sizes[axis]:
            fit = [size for size in range(1, len(devices) + 1) if whole % size == 0]
            raise errors.ConfigError(
                f'a mesh of {text} does not fit: {whole} {what} do not divide over '
                f'{sizes[axis]} devices along {axis}. They do over {_listed(fit)}'
            )
    chosen = devices[:number]
    left = {device.process_index for device in devices} - {one.process_index for one in chosen}
    if left:
        raise errors.ConfigError(
            f'a mesh of {text} leaves process {_listed(sorted(left))} without a device: start '
            'fewer processes, or take numbers of networks and of examples a batch that divide over '
            f'the {len(devices)} devices'
        )
    places = np.asarray(chosen).reshape([sizes[axis] for axis in axes])
    return Mesh(places, axes, axis_types=(AxisType.Auto,) * len(axes))


def _put(leaf, sharding: NamedSharding) -> jax.Array:
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
        return jax.jit(_same, out_shardings=sharding)(leaf)
    if isinstance(leaf, jax.Array) and dtypes.issubdtype(leaf.dtype, dtypes.prng_key):
        data = _put(jax.random.key_data(leaf), sharding)
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
    array = np.asarray(leaf)
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])


@functools.cache
def _everywhere(mesh: Mesh) -> Callable:
    return jax.jit(_same, out_shardings=NamedSharding(mesh, WHOLE))


def _same(tree):
    return tree


def _as_text(sizes: Mapping[str, int]) -> str:
    return ','.join(f'{axis}:{size}' for axis, size in sizes.items())


def _listed(numbers: Sequence[int]) -> str:
    *others, last = map(str, numbers)
    return f'{", ".join(others)} or {last}' if others else last
