"""A config.json as an adapter reads it: every value is asked for by name, none is passed over.

What an adapter does not ask for, and is not on the list of what never changes a forward pass, is
refused: it may be a switch that makes another network.
"""

import difflib
import math
import pathlib
from collections.abc import Sequence

from resnet_dyn import errors

# Names that change nothing of a forward pass in evaluation, whatever their value.
_INERT = """
_name_or_path architectures auto_map transformers_version torch_dtype dtype model_type
_commit_hash _attn_implementation attn_implementation _attn_implementation_autoset
bos_token_id eos_token_id pad_token_id sep_token_id cls_token_id unk_token_id mask_token_id
decoder_start_token_id id2label label2id num_labels problem_type finetuning_task license
task_specific_params tokenizer_class prefix language torchscript use_cache use_bfloat16
return_dict output_hidden_states output_attentions output_past return_dict_in_generate
output_scores initializer_range initializer_factor gradient_checkpointing
attention_dropout hidden_dropout attn_pdrop embd_pdrop resid_pdrop classifier_dropout
attention_probs_dropout_prob hidden_dropout_prob attention_probs_dropout_rate
max_length min_length do_sample early_stopping num_beams num_beam_groups diversity_penalty
temperature top_k top_p typical_p repetition_penalty length_penalty no_repeat_ngram_size
encoder_no_repeat_ngram_size bad_words_ids num_return_sequences forced_bos_token_id
forced_eos_token_id remove_invalid_values exponential_decay_length_penalty suppress_tokens
begin_suppress_tokens tf_legacy_loss chunk_size_feed_forward pretraining_tp
summary_activation summary_first_dropout summary_proj_to_labels summary_type summary_use_proj
_num_labels n_ctx max_sequence_length tie_encoder_decoder is_llama_config transformers.js_config
unsloth_fixed unsloth_version _flash_attn_2_enabled use_flash_attn
"""
# Names that change nothing as long as they are False, None, 0 or empty.
_IDLE = """
is_encoder_decoder is_decoder add_cross_attention cross_attention_hidden_size pruned_heads
quantization_config
"""
INERT, IDLE = frozenset(_INERT.split()), frozenset(_IDLE.split())


class Settings:
    """The values of a config, and which of them were asked for."""

    def __init__(self, values: dict, path: pathlib.Path | str, ignore: Sequence[str] = ()):
        self.values, self.path = values, path
        self.asked = set(ignore)

    def get(self, name: str, default=None):
        """The value, or the default where it is absent or null."""
        self.asked.add(name)
        value = self.values.get(name)
        return default if value is None else value

    def number(self, name: str, default: float | None = None):
        """A positive number; without a default it must be there."""
        value = self.get(name, default)
        kind = isinstance(value, int | float) and not isinstance(value, bool)
        if not kind or not 0 < value < math.inf:
            raise self.error(name, value, 'a positive number')
        return value

    def size(self, name: str, default: int | None = None) -> int:
        """A whole number of at least 1; without a default it must be there."""
        value = self.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise self.error(name, value, 'a whole number of at least 1')
        return value

    def divisor(self, name: str, of: str, size: int, default: int | None = None) -> int:
        """A whole number of at least 1 that divides the `size` which stands at the name `of`."""
        value = self.size(name, default)
        if size % value:
            raise self.error(name, value, f'a divisor of {of}={size}')
        return value

    def flag(self, name: str, default: bool) -> bool:
        """True or False."""
        value = self.get(name, default)
        if not isinstance(value, bool):
            raise self.error(name, value, 'true or false')
        return value

    def mapping(self, name: str) -> dict:
        """An object of names and values, empty where it is absent."""
        value = self.get(name, {})
        if not isinstance(value, dict):
            raise self.error(name, value, 'an object')
        return value

    def choice(self, name: str, known: Sequence, default=None):
        """One of what is known here."""
        value = self.get(name, default)
        if value not in list(known):  # of any type, also one that has no hash
            words = ', '.join(map(repr, known))
            raise self.error(name, value, words if len(known) == 1 else f'one of {words}')
        return value

    def error(self, name: str, value, expected: str) -> errors.PretrainedError:
        """What is wrong with one value."""
        return errors.PretrainedError(
            f'{self.path}: {name}={value!r}, where this library knows {expected}: opened '
            'regardless, the network would be another one. What has to be written for it: '
            'docs/pretrained.md, "How to write an adapter"'
        )

    def refuse_unknown(self) -> None:
        """PretrainedError for a value that nobody asked for, and that may make a difference."""
        for name in IDLE - self.asked:
            if self.values.get(name):
                raise self.error(name, self.values[name], 'nothing but false or null')
        rest = sorted(set(self.values) - self.asked - INERT - IDLE)
        left = [name for name in rest if self.values[name]]
        if left:
            near = difflib.get_close_matches(left[0], sorted(self.asked), 1)
            raise errors.PretrainedError(
                f'{self.path}: {left[0]}={self.values[left[0]]!r} is a setting that this library '
                'does not know'
                + (f' (it knows {near[0]})' if near else '')
                + f'. If it changes nothing in the forward pass, open with ignore={tuple(left)!r}'
            )
