"""Folders of published networks as the steps of one training: by their names, of one config."""

import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from resnet_dyn import errors
from resnet_dyn.pretrained import reading

NOT_THE_NETWORK = (  # entries of config.json in which the steps of a training may differ
    '_name_or_path',
    'transformers_version',
    'torch_dtype',
    'dtype',
    'architectures',
    'use_cache',
)

_STEP = re.compile(r'(?:step|checkpoint|iter|iteration|ckpt)[-_]?(\d+)', re.IGNORECASE)


def steps_of(folders: Sequence[str]) -> dict[int, pathlib.Path]:
    """{step: folder} by the numbers in the names of folders (step1000), else 0, 1, 2, ...

    Raises AnalysisError for no folder, and for two of one step.
    """
    paths = [pathlib.Path(folder).expanduser() for folder in folders if str(folder).strip()]
    if not paths:
        raise errors.AnalysisError('no folder is given: name one, or several with commas between')
    found = [_STEP.search(path.name) for path in paths]
    if not all(found):
        return dict(enumerate(paths))
    steps: dict[int, pathlib.Path] = {}
    for match, path in zip(found, paths, strict=True):
        step = int(match[1])
        if step in steps:
            raise errors.AnalysisError(
                f'{steps[step]} and {path} are both of step {step} by their names: each step is '
                'one folder'
            )
        steps[step] = path
    return steps


def one_config(folders: Mapping[int, pathlib.Path]) -> tuple[dict[str, Any], dict[int, str]]:
    """The config that all folders have, and why, by step, of those that cannot be read.

    Raises AnalysisError naming the first entry that differs.
    """
    damage, known = {}, None
    for step, folder in folders.items():
        try:
            config = reading.Folder(folder).config
        except errors.PretrainedError as error:
            damage[step] = str(error)
            continue
        known = known or (folder, config)
        first, other = map(of_the_network, (known[1], config))
        for name in sorted(first.keys() | other.keys()):
            one, two = first.get(name, 'nothing'), other.get(name, 'nothing')
            if one != two:
                raise errors.AnalysisError(
                    f'{folder} is no step of the training of {known[0]}: config.json says '
                    f'{name}={two!r} there and {one!r} here. Analyse networks that differ in more '
                    'than their weights each by itself, in a workdir of its own'
                )
    return known[1] if known else {}, damage


def none_opens(folders: Mapping[int, pathlib.Path], damage: Mapping[int, str]) -> Exception:
    """The error that says why the first of the folders cannot be opened, as no other can."""
    why = damage[min(folders)]
    if len(folders) == 1:
        return errors.PretrainedError(why)
    return errors.PretrainedError(f'none of these {len(folders)} folders can be opened. {why}')


def of_the_network(config: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a config.json that are the same at all steps of a training."""
    return {name: value for name, value in config.items() if name not in NOT_THE_NETWORK}
