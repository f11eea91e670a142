"""Image files as arrays of one size, by Pillow: the whole in the middle, or a crop at random.

Pixels are those that torchvision's transforms give on Pillow (`Resize`, `CenterCrop`,
`RandomResizedCrop`, `RandomHorizontalFlip`): grey, palette and CMYK images become RGB, what EXIF
says of the orientation is ignored, and resizing is bilinear with antialiasing. One thing differs:
a JPEG of which a crop is at least twice as large as what it becomes is decoded at 1/2, 1/4 or 1/8
of its size, which libjpeg does for a part of the work. No JAX here: worker processes import this.
"""

import contextlib
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from resnet_dyn import errors

AREA = (0.08, 1.0)  # of a crop, as a share of the image
RATIO = (3 / 4, 4 / 3)  # of its width to its height
TRIES = 10
MARGIN = 256 / 224  # of the shorter side to the crop in the middle


class Crop(NamedTuple):
    """A part of an image, in pixels, and whether it is mirrored."""

    left: int
    top: int
    width: int
    height: int
    flip: bool = False


def centre(file, size: int, name: str = '') -> np.ndarray:
    """The middle of an image, (size, size, 3) uint8, its shorter side made `MARGIN` size.

    `file` is a path or a file of bytes, and `name` what an error calls it. Raises DataError where
    it cannot be read as an image.
    """
    with _opened(file, name) as image:
        image = image.convert('RGB')
        short, target = min(image.size), round(size * MARGIN)
        width, height = (
            target if side == short else int(target * side / short) for side in image.size
        )
        image = image.resize((width, height), _bilinear())
        left, top = round((width - size) / 2), round((height - size) / 2)
        return np.asarray(image.crop((left, top, left + size, top + size)))


def random_crop(file, size: int, rng: np.random.Generator, name: str = '') -> np.ndarray:
    """A part of an image drawn by `draw`, (size, size, 3) uint8; file, name, errors as `centre`."""
    with _opened(file, name) as image:
        return cropped(image, draw(rng, *image.size), size)


def cropped(image, crop: Crop, size: int) -> np.ndarray:
    """A crop of an image of Pillow's that is open and not loaded, as (size, size, 3) uint8."""
    from PIL import Image

    scale = max(k for k in (1, 2, 4, 8) if k == 1 or min(crop.width, crop.height) >= k * size)
    if scale > 1:
        before = image.width
        image.draft(None, (image.width // scale, image.height // scale))  # of JPEGs alone
        scale = round(before / image.width)
    box = (crop.left, crop.top, crop.left + crop.width, crop.top + crop.height)
    left, top = (edge // scale for edge in box[:2])
    right, bottom = (-(-edge // scale) for edge in box[2:])
    part = image.convert('RGB').crop((left, top, right, bottom)).resize((size, size), _bilinear())
    if crop.flip:
        part = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return np.asarray(part)


def draw(rng: np.random.Generator, width: int, height: int) -> Crop:
    """A crop at random of an image: its area and its ratio first, then its place, then a coin.

    Of Szegedy et al. 2014 (arXiv:1409.4842), as torchvision draws it: log(ratio) is uniform, and
    after `TRIES` that do not fit it is the largest part in the middle whose ratio is allowed.
    """
    flip = bool(rng.random() < 0.5)
    low, high = map(math.log, RATIO)
    for _ in range(TRIES):
        area = width * height * rng.uniform(*AREA)
        ratio = math.exp(rng.uniform(low, high))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            top, left = rng.integers(0, height - h + 1), rng.integers(0, width - w + 1)
            return Crop(int(left), int(top), w, h, flip)
    w = min(width, round(height * RATIO[1]))
    h = min(height, round(width / RATIO[0]))
    return Crop((width - w) // 2, (height - h) // 2, w, h, flip)


@contextlib.contextmanager
def _opened(file, name: str) -> Iterator:
    """The image in a file; whatever Pillow raises on it is said of the file."""
    from PIL import Image

    name = printable(name or file)
    try:
        with Image.open(file) as image:
            yield image
    except MemoryError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise errors.DataError(
                f'{name} cannot be read ({errors.reason(error)}): see to its permissions and its '
                'disk'
            ) from error
        raise errors.DataError(
            f'{name} is no whole image ({errors.reason(error)}): copy it again, or remove it. Both '
            'make other data of it, which a run that began goes on with no more: start that one '
            'again in a new workdir'
        ) from error


def printable(path) -> str:
    """The name of a file as any terminal can show it."""
    return str(path).encode(errors='backslashreplace').decode()


def _bilinear():
    from PIL import Image

    return Image.Resampling.BILINEAR
