"""A small tree of JPEGs of noise, of sizes that differ, with a folder a class."""

import numpy as np
from PIL import Image


def write(root, train, val, seed=0):
    """Writes <root>/train/CLASS/<i>.jpg and val alike, of so many images a class; returns root."""
    rng = np.random.default_rng(seed)
    for part, numbers in (('train', train), ('val', val)):
        for name, number in numbers.items():
            folder = root / part / name
            folder.mkdir(parents=True)
            for i in range(number):
                height, width = rng.integers(18, 40, 2)
                pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f'{i}.jpg', quality=90)
    return root
