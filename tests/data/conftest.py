"""A data set as tensorflow-datasets leaves it on disk, written without TensorFlow."""

import io
import json

import image_tree
import numpy as np
import pytest
from PIL import Image

FEATURES = 'tensorflow_datasets.core.features'


@pytest.fixture
def pixels():
    """Makes images (N, H, W, C) and labels (N,), different in every example."""

    def make(size, shape=(32, 32, 3), seed=0, classes=10):
        rng = np.random.default_rng(seed)
        images = rng.integers(0, 256, (size, *shape), dtype=np.uint8)
        return images, np.arange(size, dtype=np.int32) % classes

    return make


@pytest.fixture
def write_tfds():
    """Writes <root>/<name>/<version>/ with the splits given as {name: (images, labels)}."""
    return _write_tfds


def _write_tfds(root, name, parts, *, version='3.0.2', image='PNG', info=None, group=1):
    folder = root / name / version
    folder.mkdir(parents=True)
    for split, (images, labels) in parts.items():
        file = folder / f'{name}-{split}.array_record-00000-of-00001'
        _write_records(file, images, labels, image, group)
    shape = next(iter(parts.values()))[0].shape[1:]
    (folder / 'features.json').write_text(json.dumps(_features(shape)))
    lengths = {split: len(labels) for split, (_, labels) in parts.items()}
    described = _info(name, version, lengths) | (info or {})
    (folder / 'dataset_info.json').write_text(json.dumps(described))
    return folder


def _write_records(file, images, labels, image_format, group):
    from array_record.python import array_record_module
    from tensorflow_datasets.proto import tf_example_pb2

    writer = array_record_module.ArrayRecordWriter(str(file), f'group_size:{group}')
    for pixels, label in zip(images, labels, strict=True):
        stream = io.BytesIO()
        plane = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
        Image.fromarray(plane).save(stream, image_format)
        example = tf_example_pb2.Example()
        example.features.feature['image'].bytes_list.value.append(stream.getvalue())
        example.features.feature['label'].int64_list.value.append(int(label))
        writer.write(example.SerializeToString())
    writer.close()


def _features(shape):
    return {
        'pythonClassName': f'{FEATURES}.features_dict.FeaturesDict',
        'featuresDict': {
            'features': {
                'image': {
                    'pythonClassName': f'{FEATURES}.image_feature.Image',
                    'image': {'shape': {'dimensions': list(map(str, shape))}, 'dtype': 'uint8'},
                },
                'label': {
                    'pythonClassName': f'{FEATURES}.class_label_feature.ClassLabel',
                    'classLabel': {'numClasses': '10'},
                },
            }
        },
    }


def _info(name, version, lengths):
    return {
        'name': name,
        'version': version,
        'fileFormat': 'array_record',
        'splits': [
            {
                'name': split,
                'shardLengths': [str(length)],
                'filepathTemplate': '{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}',
            }
            for split, length in lengths.items()
        ],
    }


@pytest.fixture
def write_tree():
    """Writes <root>/train/CLASS/<i>.jpg and val alike, of so many images a class."""
    return image_tree.write
