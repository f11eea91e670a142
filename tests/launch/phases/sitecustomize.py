"""Writes what a launcher is doing into the file $PHASES, a line a beginning or an end.

Python imports this module by its name at the start of every process that has the folder on its
path, so that processes which a launcher starts write too:

    <process> <time> <phase> begins|ends <whole numbers that it was called with>
"""

import functools
import importlib.abc
import importlib.util
import os
import sys
import time

WRAPPED = {  # module: (what is wrapped, the phase)
    'resnet_dyn.data.datasets': [('load', 'load')],
    'resnet_dyn.training.checkpoints': [('restore_training', 'load')],
    'resnet_dyn.training.program': [
        ('Program.begin', 'compile'),
        ('Program.advance', 'train'),
        ('Program.evaluate', 'evaluate'),
        ('Program.record', 'record'),
    ],
    'resnet_dyn.training.saving': [('Writer._write', 'save')],
    'resnet_dyn.analysis.run_subjects': [('Run.subject', 'estimate')],
    'resnet_dyn.analysis.trajectories': [('_measured', 'measure')],
    'resnet_dyn.reports.closing': [('show', 'draw')],
}


def say(*words) -> None:
    line = ' '.join(map(str, (os.getpid(), time.time(), *words)))
    descriptor = os.open(os.environ['PHASES'], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f'{line}\n'.encode())
    os.close(descriptor)


def wrap(module, name, phase) -> None:
    *owners, last = name.split('.')
    owner = functools.reduce(getattr, owners, module)
    function = getattr(owner, last)

    @functools.wraps(function)
    def call(*args, **options):
        numbers = [arg for arg in args if type(arg) is int]
        during = 'compile' if phase == 'train' and numbers[0] == numbers[1] else phase
        say(during, 'begins', *numbers)
        found = function(*args, **options)
        say(during, 'ends', *numbers)
        return found

    setattr(owner, last, call)


class Finder(importlib.abc.MetaPathFinder):
    """Finds the modules above as anybody does, and wraps what is in them."""

    def find_spec(self, name, path, target=None):
        if name not in WRAPPED:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        sys.meta_path.insert(0, self)
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            for what, phase in WRAPPED[name]:
                wrap(module, what, phase)

        spec.loader.exec_module = exec_module
        return spec


if 'PHASES' in os.environ:
    say('start', 'begins')
    sys.meta_path.insert(0, Finder())
