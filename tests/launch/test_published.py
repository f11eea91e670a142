"""launch.analyze --pretrained: folders as the steps of a training, texts, and what is refused."""

import json
import re
import shutil

import jax
import numpy as np
import pytest
from published import write
from safetensors.numpy import load_file, save_file

from launch import signals
from resnet_dyn import errors, pretrained
from resnet_dyn.analysis import archive, effort
from resnet_dyn.analysis import published as published_networks
from resnet_dyn.kernels import lesions, masks
from resnet_dyn.reports import measures

pytestmark = pytest.mark.usefixtures('sketched')

FEW = ('--sequences=4', '--length=10')  # of one part on four devices


@pytest.fixture(scope='module')
def trajectory(called, published, tmp_path_factory):
    """Two folders as a training, analysed: (folders, workdir, what was said)."""
    folders = [published('gpt2', 'tiny-step8000', 1.1), published('gpt2', 'tiny-step1000')]
    workdir = tmp_path_factory.mktemp('trajectory') / 'w'
    what = '--what=singles,influence'
    given = f'--pretrained={folders[0]},{folders[1]}'
    status, out, err = called('analyze', given, what, f'--workdir={workdir}', *FEW)
    assert (status, err) == (0, '')
    return folders, workdir, out


def test_folders_are_the_steps_of_a_training_by_their_names(trajectory):
    folders, workdir, out = trajectory
    assert f'the steps of one training: 1,000: {folders[1]}, 8,000: {folders[0]}' in out
    assert "4 sequences of 10 tokens of Python's own documentation" in out
    found = archive.read(workdir, 'singles', measures.MEASURES['singles'].record)
    assert [int(one.record.step) for one in found] == [1000, 8000]
    assert found[0].record.full_loss_S != found[1].record.full_loss_S
    assert found[0].origin['config']['folders']['1000'] == str(folders[1])
    assert 'blocks by influence, least first (ShortGPT' in out
    assert (workdir / 'pictures' / 'influence.png').exists()


def test_numbers_are_those_of_the_kernels_on_the_same_tokens(trajectory, called, tmp_path):
    folders, *_ = trajectory
    tokens = np.random.default_rng(0).integers(0, 61, (4, 11))  # the shape of the trajectory's
    tokens[1, 5:] = -1
    np.save(tmp_path / 'tokens.npy', tokens)
    given = (f'--pretrained={folders[1]}', f'--tokens={tmp_path / "tokens.npy"}')
    workdir = tmp_path / 'w'
    status, out, _ = called('analyze', *given, '--what=singles', f'--workdir={workdir}')
    assert status == 0 and '4 sequences of 5 to 10 tokens' in out
    (found,) = archive.read(workdir, 'singles', measures.MEASURES['singles'].record)
    opened = pretrained.open(folders[1], blocks='layers')
    there = tokens[:, :-1] >= 0
    inputs = opened.inputs(np.maximum(tokens[:, :-1], 0), there)
    scores = lesions.score(opened.net, inputs, tokens[:, 1:], masks.single(3))
    np.testing.assert_allclose(found.record.loss_SL[0], scores['loss'], rtol=1e-5)


def test_what_is_there_is_not_made_again_and_other_weights_are(
    trajectory, called, published, tmp_path
):
    folders, whole, _ = trajectory
    workdir = shutil.copytree(whole, tmp_path / 'w')
    given = ('--what=singles', f'--workdir={workdir}', *FEW)
    both = f'--pretrained={folders[1]},{folders[0]}'
    _, out, _ = called('analyze', both, *given)
    assert out.count('there already: singles') == 2
    other = f'--pretrained={published("gpt2", "other-step1000", 0.9)},{folders[0]}'
    _, out, _ = called('analyze', other, *given)
    assert out.count('measured singles') == out.count('there already: singles') == 1
    _, out, _ = called('analyze', both, *given, '--places=1')  # other places in the text
    assert out.count('measured singles') == 2


def test_what_a_signal_stopped_goes_on_to_the_same_numbers(
    trajectory, called, tmp_path, monkeypatch
):
    folders, whole, _ = trajectory
    flags = (f'--pretrained={folders[0]},{folders[1]}', '--what=singles', f'--workdir={tmp_path}')

    def records(workdir):
        found = archive.read(workdir, 'singles', measures.MEASURES['singles'].record)
        return [(one.record.step, one.record.full_loss_S, one.record.loss_SL) for one in found]

    with monkeypatch.context() as patch:
        patch.setattr(signals.Signals, '__call__', lambda self: bool(records(tmp_path)))
        status, out, _ = called('analyze', *flags, *FEW)
    assert status == signals.STOPPED and 'stopped after 1 of 2 checkpoints' in out
    assert len(records(tmp_path)) == 1
    status, out, _ = called('analyze', *flags, *FEW)
    assert status == 0 and out.count('there already: singles') == out.count('measured singles') == 1
    jax.tree.map(np.testing.assert_array_equal, records(tmp_path), records(whole))


def test_an_encoder_tells_sequences_apart(called, published, tmp_path):
    (tmp_path / 'lines.txt').write_text('abc\ndefghi\n\nkl\nmnopqrstuvw\n')
    given = (f'--pretrained={published("bert")}', f'--text={tmp_path / "lines.txt"}', '--lines')
    what = '--what=effective_depth,singles'
    status, out, err = called('analyze', *given, what, f'--workdir={tmp_path / "w"}', *FEW)
    assert (status, err) == (0, '') and '4 sequences of 2 to 10 tokens' in out
    assert 'an encoder is asked which of them it is given' in out
    (found,) = archive.read(tmp_path / 'w', 'singles', measures.MEASURES['singles'].record)
    assert (
        found.record.full_error_S == 0 and (found.record.loss_SL > found.record.full_loss_S).any()
    )


def test_classes_of_images_are_those_of_the_network(called, published, tmp_path):
    images = np.random.default_rng(0).normal(size=(3, 3, 12, 12)).astype(np.float32)
    np.savez(tmp_path / 'images.npz', x=images, y=np.array([0, 4, 5]))
    given = (f'--pretrained={published("vit")}', f'--workdir={tmp_path / "w"}')
    status, _, err = called('analyze', *given, f'--images={tmp_path / "images.npz"}')
    assert status == 1 and 'label 5 of example 2 is none of the 5 classes' in err
    status, _, err = called('analyze', *given)
    assert status == 1 and 'give --images=FILE.npz' in err
    np.savez(tmp_path / 'images.npz', x=images, y=np.array([0, 4, 1]))
    base = shutil.copytree(published('vit'), tmp_path / 'base')
    config = json.loads((base / 'config.json').read_text()) | {'architectures': ['ViTModel']}
    (base / 'config.json').write_text(json.dumps(config))
    arrays = load_file(base / 'model.safetensors')
    save_file(
        {k: v for k, v in arrays.items() if not k.startswith('classifier')},
        base / 'model.safetensors',
    )
    given = (f'--pretrained={base}', f'--workdir={tmp_path / "w"}')
    status, _, err = called('analyze', *given, f'--images={tmp_path / "images.npz"}')
    assert status == 1 and 'it is a base model' in err


def test_a_folder_without_a_tokenizer_says_what_to_give(called, published, tmp_path):
    path = shutil.copytree(published('gpt2'), tmp_path / 'bare')
    (path / 'tokenizer.json').unlink()
    status, _, err = called('analyze', f'--pretrained={path}', f'--workdir={tmp_path / "w"}')
    assert status == 1 and 'no tokenizer.json' in err and '--tokens=FILE.npy' in err


def test_a_folder_that_cannot_be_opened_is_said_and_the_other_steps_go_on(
    called, published, tmp_path
):
    broken = shutil.copytree(published('gpt2'), tmp_path / 'tiny-step500')
    path = broken / 'model.safetensors'
    arrays = load_file(path)
    del arrays[sorted(arrays)[0]]
    save_file(arrays, path)
    folders = f'{published("gpt2", "tiny-step100")},{broken},{published("gpt2", "tiny-step1000")}'
    given = (f'--pretrained={folders}', '--what=influence', f'--workdir={tmp_path / "w"}', *FEW)
    status, out, err = called('analyze', *given)
    assert (status, err) == (1, '')
    assert re.search(f'step +500: LOST. {broken} lacks', out)
    found = archive.read(tmp_path / 'w', 'influence', measures.MEASURES['influence'].record)
    assert [int(one.record.step) for one in found] == [100, 1000]


def _cut(folder):
    path = folder / 'model.safetensors'
    path.write_bytes(path.read_bytes()[:100])


def _without_a_tensor(folder):
    arrays = load_file(folder / 'model.safetensors')
    del arrays[sorted(arrays)[0]]
    save_file(arrays, folder / 'model.safetensors')


@pytest.mark.parametrize('damage', [shutil.rmtree, _cut, _without_a_tensor])
def test_a_first_folder_that_cannot_be_opened_is_a_step_that_is_lost(published, tmp_path, damage):
    broken = shutil.copytree(published('gpt2'), tmp_path / 'tiny-step1')
    damage(broken)
    asked = published_networks.Asked(number=2, length=5)
    whole = published('gpt2', 'tiny-step1000')
    found = published_networks.Folders([str(broken), str(whole)], asked, dtype='float32')
    assert found.steps == [1, 1000] and found.first(found.steps).origin.step == 1000
    for look in (found.facts, found.subject, lambda step: found.first([step])):
        with pytest.raises(errors.CheckpointError, match=str(broken)):
            look(1)
    with pytest.raises(errors.PretrainedError, match=f'^{broken}'):
        published_networks.Folders([str(broken)], asked)
    with pytest.raises(errors.PretrainedError, match=f'none of these 2 folders.*{broken}'):
        published_networks.Folders([str(broken), str(tmp_path / 'step2')], asked)


def test_what_the_config_leaves_to_its_layout_changes_nothing(tmp_path):
    config = {'model_type': 'gpt2', 'n_embd': 4, 'n_layer': 1, 'n_head': 2, 'n_positions': 8}
    folder = write(tmp_path / 'plain', config)  # vocab_size is that of GPT-2
    np.save(tmp_path / 'tokens.npy', np.full((2, 5), 50256))
    asked = published_networks.Asked(tokens=str(tmp_path / 'tokens.npy'), number=999)
    found = published_networks.Folders([str(folder)], asked)
    assert 'every token is asked for the next one' in found.source
    assert found.at_once == effort.OUTPUTS // (4 * 50257)


def test_folders_of_other_configs_are_refused_by_what_differs(called, published, tmp_path):
    other = shutil.copytree(published('gpt2'), tmp_path / 'other')
    config = json.loads((other / 'config.json').read_text())
    (other / 'config.json').write_text(json.dumps(config | {'n_head': 2}))
    given = f'--pretrained={published("gpt2")},{other}'
    status, _, err = called('analyze', given, f'--workdir={tmp_path / "w"}')
    assert status == 1 and 'config.json says n_head=2 there and 4 here' in err


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        (['--examples=3'], '--examples is of runs'),
        (['--network=0'], '--network is of runs'),
        (['--config.model.depth=3'], '--config.model.depth is of runs'),
        (['--length=90'], 'longer|positions|40'),
        (['--text=nowhere.txt'], 'cannot be read as a text'),
        (['--images=x.npz'], 'is a network of texts'),
        (['--lines'], 'give --text=FILE'),
        (['--parallel=two'], 'blocks are layers.*--blocks=sublayers'),
        (['--parallel=two', '--blocks=sublayers'], "parallel='two': this layout has no options"),
        (['--what=effective_dept'], "did you mean 'effective_depth'"),
    ],
)
def test_what_does_not_go_with_a_published_network_is_refused(
    called, published, tmp_path, given, message
):
    flags = (f'--pretrained={published("gpt2")}', f'--workdir={tmp_path / "w"}', *given)
    status, _, err = called('analyze', *flags)
    assert status == 1 and re.search(message, err) and err.count('\n') == 1


def test_flags_of_published_networks_need_one(called, copied_run):
    status, _, err = called('analyze', f'--workdir={copied_run}', '--sequences=3')
    assert status == 1 and '--sequences=3 is of published networks' in err
