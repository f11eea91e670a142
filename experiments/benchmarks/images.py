"""How fast are images read, decoded, cropped and flipped, beside PyTorch's DataLoader?

Command: python -m launch.benchmark --what=images
What: training batches of 64 crops of 224 pixels from a tree of JPEGs of 500 x 375 (noise of a
natural image's spectrum, quality 95), by the stream of a run and by a DataLoader of torchvision's
ImageFolder on Pillow with RandomResizedCrop, RandomHorizontalFlip, ToTensor and Normalize: the same
files, as many worker processes, one a core. Ours leaves the host as uint8, to be normalised on the
device, which PyTorch is timed at as well (PILToTensor in the place of the last two). A loader is
begun for each timing, runs alone, and its first batches do not count. PyTorch and torchvision are
never dependencies: without them our speed stands alone.
Expect: on 2 cores at least as many images a second as PyTorch.
Each timing in rounds, taken in turn, whose number, median and range are said.
Wall time: about 3 minutes on 2 cores.
"""

import contextlib
import functools
import io
import itertools
import os
import pathlib
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from experiments.benchmarks import timing
from resnet_dyn import config
from resnet_dyn.data import datasets, prefetch, streams

FILES, CLASSES, SHAPE, QUALITY = 512, 8, (375, 500), 95
SIZE, BATCH, BATCHES = 224, 64, 8  # a timed call
WARM_UP = 6
ROUNDS = 5


def run(report: Callable[[str], None] = print) -> dict[str, Any]:
    """Measures, reports line by line, and returns the numbers behind the lines."""
    workers = prefetch.cores()
    with tempfile.TemporaryDirectory() as root:
        kilobytes = write_tree(pathlib.Path(root)) / FILES / 1000
        sizes = {'size': SIZE, 'batch': BATCH, 'workers': workers, 'kilobytes': kilobytes}
        report(f'{FILES} JPEGs of {SHAPE[1]} x {SHAPE[0]}, {kilobytes:.0f} kB each')
        contestants = {
            'ours': functools.partial(our_batches, root, workers),
            **pytorch_batches(root, workers),
        }
        speed = {name: [] for name in contestants}
        for _ in range(ROUNDS):
            for name, opened in contestants.items():
                speed[name].append(images_per_second(opened))
    for name, values in speed.items():
        report(f'{name}: {timing.spread(values)} images/s by {workers} workers')
    found = {'sizes': sizes, 'images_per_second': speed}
    if len(speed) == 1:
        report('torchvision cannot be imported: no comparison')
        return found
    for name in list(speed)[1:]:
        ratio = timing.ratio(speed['ours'], speed[name])
        report(f'our images per second over those of {name}: {ratio} (goal: at least 1.0)')
        found[f'speed_over_{name}'] = ratio
    return found


def images_per_second(opened: Callable) -> float:
    """Of `BATCHES` batches of a loader that is begun for it, and has come to its pace."""
    with opened() as batches:
        for _ in itertools.islice(batches, WARM_UP):
            pass
        seconds = timing.once(lambda: list(itertools.islice(batches, BATCHES)))
    return BATCH * BATCHES / seconds


@contextlib.contextmanager
def our_batches(root, workers: int) -> Iterator[Iterator]:
    """The batches of a run on the tree."""
    data = {'name': 'image_folder', 'dir': str(root), 'image_size': SIZE, 'workers': workers}
    stream = datasets.load(config.part('data', data)).train
    with contextlib.closing(stream.batches(0, BATCH)) as batches:
        yield batches


def pytorch_batches(root, workers: int) -> dict[str, Callable]:
    """Those of DataLoaders, with and without floats on the host; none where there is no PyTorch."""
    try:
        import torch
        import torchvision
        from torchvision import transforms
    except ImportError:
        return {}
    crop = [transforms.RandomResizedCrop(SIZE), transforms.RandomHorizontalFlip()]
    normalise = transforms.Normalize(streams.MEAN, streams.STD)
    made = {
        'pytorch': [*crop, transforms.ToTensor(), normalise],
        'pytorch_uint8': [*crop, transforms.PILToTensor()],
    }

    @contextlib.contextmanager
    def batches(parts):
        tree = torchvision.datasets.ImageFolder(
            str(pathlib.Path(root) / 'train'), transforms.Compose(parts)
        )
        endless = torch.utils.data.RandomSampler(tree, replacement=True, num_samples=2**40)
        loader = torch.utils.data.DataLoader(
            tree, BATCH, sampler=endless, num_workers=workers, multiprocessing_context='spawn'
        )
        yield iter(loader)  # its workers end with it

    return {name: functools.partial(batches, parts) for name, parts in made.items()}


def write_tree(root: pathlib.Path) -> int:
    """A tree of JPEGs below `root`; returns the bytes of its training images."""
    for part, number in (('train', FILES), ('val', CLASSES)):
        for i in range(number):
            folder = root / part / f'class{i % CLASSES}'
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f'{i}.jpg').write_bytes(jpeg(i))
    return sum(os.path.getsize(path) for path in root.glob('train/*/*.jpg'))


def jpeg(seed: int) -> bytes:
    """A picture whose amplitudes fall as 1 / frequency, as those of natural images do."""
    from PIL import Image

    height, width = SHAPE
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    frequency[0, 0] = np.inf
    noise = np.random.default_rng(seed).standard_normal((3, height, width))
    pixels = np.fft.irfft2(np.fft.rfft2(noise) / frequency, (height, width))
    mixed = pixels.mean(0) + 0.3 * pixels  # the colours of a pixel are alike
    scaled = 128 + 55 * (mixed - mixed.mean()) / mixed.std()
    stream = io.BytesIO()
    image = Image.fromarray(np.clip(scaled, 0, 255).astype(np.uint8).transpose(1, 2, 0))
    image.save(stream, 'JPEG', quality=QUALITY)
    return stream.getvalue()
