"""A tree with a folder a class: what counts as an example, and every tree that will not do."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from resnet_dyn import config, errors
from resnet_dyn.data import datasets, image_folder


@pytest.fixture
def root(tmp_path, write_tree):
    return write_tree(tmp_path / 'tree', {'ape': 3, 'bee': 2, 'cat': 4}, {'ape': 1, 'cat': 2})


def load(root):
    return image_folder.load(config.part('data', {'name': 'image_folder', 'dir': str(root)}))


def test_classes_are_sorted_and_those_of_val_are_those_of_train(root):
    train, val, classes = load(root)
    assert classes == 3
    np.testing.assert_array_equal(train.labels, [0, 0, 0, 1, 1, 2, 2, 2, 2])
    np.testing.assert_array_equal(val.labels, [0, 2, 2], 'not 0, 1, 1')
    assert [name for _, _, name in val.read([0, 2])] == [
        str(root / 'val/ape/0.jpg'),
        str(root / 'val/cat/1.jpg'),
    ]


def test_folders_below_a_class_count_and_hidden_and_other_files_do_not(root):
    (root / 'train/ape/more').mkdir()
    shutil.copy(root / 'train/ape/0.jpg', root / 'train/ape/more/SHOUT.JPEG')
    Image.new('RGB', (8, 8)).save(root / 'train/ape/z.png')
    for other in ('.hidden.jpg', 'notes.txt'):
        (root / 'train/ape' / other).write_bytes(b'x')
    (root / 'train/.git').mkdir()
    (root / 'train/readme.jpg').write_bytes(b'x')
    train, _, classes = load(root)
    names = [os.fsdecode(name) for name in train.names_N[train.labels == 0]]
    assert names == ['ape/0.jpg', 'ape/1.jpg', 'ape/2.jpg', 'ape/z.png', 'ape/more/SHOUT.JPEG']
    assert classes == 3


def absent(root):
    shutil.rmtree(root)


def without_train(root):
    shutil.rmtree(root / 'train')


def without_val(root):
    (root / 'val').rename(root / 'validation')


def without_classes(root):
    shutil.rmtree(root / 'val')
    (root / 'val').mkdir()
    (root / 'val/1.jpg').write_bytes(b'x')


def one_class(root):
    for name in ('bee', 'cat'):
        shutil.rmtree(root / 'train' / name)


def empty_class(root):
    (root / 'train/dog').mkdir()


def empty_val(root):
    for path in root.glob('val/*/*.jpg'):
        path.unlink()


def unknown_class(root):
    (root / 'val/cat').rename(root / 'val/cats')


def empty_file(root):
    (root / 'train/bee/1.jpg').write_bytes(b'')


def dangling_link(root):
    (root / 'train/bee/2.jpg').symlink_to(root / 'nowhere.jpg')


@pytest.mark.parametrize(
    ('spoil', 'message'),
    [
        (absent, r'tree is not there: the images are looked for in .*train/CLASS/\*\.jpg'),
        (without_train, r'there is no folder .*tree/train: .*put the images there'),
        (without_val, r'there is no folder .*tree/val: '),
        (without_classes, r'there is no folder in .*tree/val: it holds one a class'),
        (one_class, r'tree/train has one class, ape: '),
        (empty_class, r'there is no image in .*train/dog .*remove the folder'),
        (empty_val, r'there is no image in .*tree/val: put'),
        (unknown_class, r"val/cats is a class that .*train has not, .*did you mean 'cat'\?$"),
        (empty_file, r'train/bee/1\.jpg is empty: copy it again'),
        (dangling_link, r'tree/train cannot be read .*bee/2\.jpg.*: see to its permissions'),
    ],
)
def test_a_tree_that_will_not_do_is_refused_by_what_is_wrong(root, spoil, message):
    spoil(root)
    with pytest.raises(errors.DataError, match=message):
        load(root)


def test_the_folder_of_a_part_is_answered_by_that_above_it(root):
    with pytest.raises(errors.DataError, match=rf'set config\.data\.dir={root}$'):
        load(root / 'train')


def test_the_folder_has_to_be_given():
    with pytest.raises(errors.ConfigError, match=r'image_folder needs config\.data\.dir='):
        config.parse({'data.name': 'image_folder', 'model.family': 'imagenet_resnet'})


def test_the_digest_tells_names_sizes_classes_and_choices_apart(root):
    def digest(**more):
        data = {'name': 'image_folder', 'dir': str(root), **more}
        return datasets.load(config.part('data', data)).source.digest

    first = digest()
    assert digest() == digest(image_size=32) == first
    found = {first, digest(train_size=5), digest(label_noise=0.5), digest(train_size=5, seed=1)}
    (root / 'train/ape/2.jpg').rename(root / 'train/ape/3.jpg')  # in the same place
    found.add(digest())
    with open(root / 'val/ape/0.jpg', 'ab') as file:
        file.write(b'x')
    found.add(digest())
    (root / 'train/bee/0.jpg').rename(root / 'train/ape/8.jpg')
    found.add(digest())
    assert len(found) == 7
