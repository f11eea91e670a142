"""The config of a run that is over in no time: 2 networks of 3 blocks, 6 steps.

Runs of other lengths are the same programs, compiled once for the whole suite, where the rate is
constant.
"""

VALUES = {
    'seeds': 2,
    'data.classes': 3,
    'data.dimension': 4,
    'data.train_size': 64,
    'data.test_size': 30,
    'model.depth': 4,
    'model.width': 8,
    'train.steps': 6,
    'train.batch_size': 16,
    'train.schedule': 'constant',
    'checkpoint.every': 2,
    'log.record': 2,
    'log.tensorboard': False,
}
