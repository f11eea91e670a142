"""Lesions of a GPT-2 of the transformers library as people write them in PyTorch, for races.

Nothing is shared between masks: by forward hooks, in which what is deleted is computed and thrown
away, and by a loop over the blocks that leaves it out.
"""

import pathlib
from collections.abc import Callable

import torch
from torch.nn import functional

from experiments.benchmarks import torchvision_operators  # noqa: F401

# isort: split
import transformers


def write(folder: pathlib.Path, layers: int, width: int, heads: int, vocabulary: int, length: int):
    """A GPT-2 of random weights, written by its own library."""
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        n_layer=layers,
        n_embd=width,
        n_head=heads,
        vocab_size=vocabulary,
        n_positions=length,
        bos_token_id=None,
        eos_token_id=None,
        initializer_range=0.1,  # losses that differ by nats between masks
    )
    transformers.GPT2LMHeadModel(config).save_pretrained(folder)


def load(folder: pathlib.Path) -> transformers.GPT2LMHeadModel:
    """The network of a folder."""
    return transformers.GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float32).eval()


def loss(logits, tokens) -> float:
    """Mean cross-entropy of the next tokens in nats."""
    return functional.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()).item()


def hooks(model, tokens_BT, masks_ML, blocks: str) -> Callable[[], list[float]]:
    """A call that scores masks one after the other through forward hooks."""
    tokens = torch.from_numpy(tokens_BT)

    def no_output(module, args, output):  # of a sublayer: nothing is added
        if isinstance(output, tuple):
            return (torch.zeros_like(output[0]), *output[1:])
        return torch.zeros_like(output)

    def input_again(module, args, output):  # of a layer: h goes past it
        return args[0]

    modules, hook = list(model.transformer.h), input_again
    if blocks == 'sublayers':
        modules = [part for layer in modules for part in (layer.attn, layer.mlp)]
        hook = no_output

    @torch.no_grad()
    def run():
        losses = []
        for mask in masks_ML:
            deleted = [module for module, gate in zip(modules, mask, strict=True) if not gate]
            handles = [module.register_forward_hook(hook) for module in deleted]
            losses.append(loss(model(tokens).logits, tokens))
            for handle in handles:
                handle.remove()
        return losses

    return run


def skips(model, tokens_BT, masks_ML, blocks: str) -> Callable[[], list[float]]:
    """A call that scores masks one after the other, the stem once, deleted blocks left out."""
    tokens, net = torch.from_numpy(tokens_BT), model.transformer
    per_layer = 2 if blocks == 'sublayers' else 1

    @torch.no_grad()
    def run():
        losses, h_0 = [], net.wte(tokens) + net.wpe.weight[: tokens.shape[1]]
        for mask in masks_ML:
            h = h_0
            for layer, gates in zip(net.h, mask.reshape(-1, per_layer), strict=True):
                if gates[0]:
                    h = h + layer.attn(layer.ln_1(h))[0]
                if gates[-1]:
                    h = h + layer.mlp(layer.ln_2(h))
            losses.append(loss(model.lm_head(net.ln_f(h)), tokens))
        return losses

    return run
