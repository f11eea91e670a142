"""The benchmark of images at toy size: ratios round by round, JPEGs of the size that is said."""

import contextlib
import io
import itertools

import numpy as np
import pytest
from PIL import Image

from experiments import benchmark_rows
from experiments.benchmarks import images, results


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(images, 'FILES', 4)
    monkeypatch.setattr(images, 'CLASSES', 2)
    monkeypatch.setattr(images, 'SHAPE', (30, 40))


def _loader(seconds, passed):
    """Batches that each take so many seconds of the clock `passed`."""

    @contextlib.contextmanager
    def opened(*_):
        yield (passed.append(seconds) for _ in itertools.count())

    return opened


def test_a_ratio_is_that_of_images_per_second(monkeypatch, tmp_path):
    passed = []
    monkeypatch.setattr(images, 'our_batches', _loader(0.5, passed))
    others = {'pytorch': _loader(1.0, passed), 'pytorch_uint8': _loader(0.75, passed)}
    monkeypatch.setattr(images, 'pytorch_batches', lambda root, workers: others)

    def once(run):
        before = sum(passed)
        run()
        return sum(passed) - before

    monkeypatch.setattr(images.timing, 'once', once)
    said = []
    found = images.run(said.append)
    assert found['images_per_second']['ours'] == [images.BATCH / 0.5] * images.ROUNDS
    assert (found['speed_over_pytorch'].median, found['speed_over_pytorch'].rounds) == (2.0, 5)
    assert len(passed) == 3 * images.ROUNDS * (images.WARM_UP + images.BATCHES)
    assert 'over those of pytorch: 2' in said[-2]
    results.write(tmp_path / 'benchmarks', 'images', found, seconds=1.0)
    first, second = benchmark_rows.images(tmp_path)
    assert "crops of 224, over PyTorch's DataLoader" in first.claim
    assert second.number.startswith('1.5') and 'uint8' in second.claim


def test_without_pytorch_our_speed_stands_alone(monkeypatch):
    monkeypatch.setattr(images, 'our_batches', _loader(0.5, []))
    monkeypatch.setattr(images, 'pytorch_batches', lambda root, workers: {})
    said = []
    assert 'speed_over_pytorch' not in images.run(said.append)
    assert 'no comparison' in said[-1]


def test_the_pictures_have_the_spectrum_of_natural_ones(monkeypatch):
    monkeypatch.setattr(images, 'SHAPE', (128, 128))
    found = []
    for seed in range(4):
        with Image.open(io.BytesIO(images.jpeg(seed))) as image:
            gray = np.asarray(image.convert('L'), float)
        power = np.abs(np.fft.rfft2(gray - gray.mean())) ** 2
        frequency = np.hypot(np.fft.fftfreq(128)[:, None], np.fft.rfftfreq(128))
        low, high = ((frequency > a) & (frequency < 1.2 * a) for a in (0.05, 0.2))
        found.append(power[low].mean() / power[high].mean())
    assert 8 < np.mean(found) < 32, '4^2 where amplitudes fall as 1 / frequency'
