"""Flax modules, Linen and NNX, run with a hook on the calls of the modules within them.

    run(tree, args, kwargs, hook)        hook(path, part, function, args, kwargs) -> output

The hook stands in for every call of a module within: it may call `function`, or give another
output, or leave. Nothing of the user's is changed: Linen has interceptors; of an NNX module a copy
is made, whose parts are of classes that ask the hook.

The two kinds of runner compare equal for modules that were made the same way, with other values of
their variables.
"""

import contextvars
import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import nnx

from resnet_dyn.models import likeness
from resnet_dyn.models import stages as stages_lib

_RNGS = 'rngs'

_hooks = contextvars.ContextVar('hooks', default=None)


@dataclasses.dataclass(frozen=True)
class Linen:
    """A Linen module; its tree is its variables, beside them `rngs` where `apply` is given some."""

    module: nn.Module = dataclasses.field(compare=False)
    options: dict = dataclasses.field(
        compare=False
    )  # of `apply`, and arguments of the module's own
    like: likeness.Likeness = dataclasses.field(repr=False)

    def run(self, tree, args, kwargs, hook: Callable | None = None):
        """The module's output, the calls within it passing through the hook."""

        def intercept(function, args, kwargs, context):
            path = context.module.path
            if not path or context.method_name != '__call__':
                return function(*args, **kwargs)
            return hook('/'.join(path), context.module, function, args, kwargs)

        def apply():
            variables = {name: own for name, own in tree.items() if name != _RNGS}
            rngs = tree.get(_RNGS)
            return self.module.apply(variables, *args, rngs=rngs, **kwargs, **self.options)

        if hook is None:
            output = apply()
        else:
            with nn.intercept_methods(intercept):
                output = apply()
        return output[0] if self.options.get('mutable', False) else output

    def part(self, tree, path: str, bound) -> tuple['Linen', Any]:
        """The runner of a module within, bound under this path, and its tree."""
        options = {k: v for k, v in self.options.items() if k == 'mutable'}
        return linen(bound.unbind()[0], self.own(tree, path), options)

    def own(self, tree, path: str):
        """What of the tree belongs to the module under this path."""
        own = {}
        for collection, variables in tree.items():
            for name in path.split('/'):
                variables = variables.get(name, {}) if isinstance(variables, Mapping) else {}
            own |= {collection: variables} if variables else {}
        return own


@dataclasses.dataclass(frozen=True)
class Nnx:
    """An NNX module; its tree is its state."""

    graphdef: Any = dataclasses.field(compare=False, repr=False)
    options: dict = dataclasses.field(compare=False)
    like: likeness.Likeness = dataclasses.field(repr=False)

    def run(self, tree, args, kwargs, hook: Callable | None = None):
        """The module's output, the calls within it passing through the hook."""
        module = nnx.merge(self.graphdef, tree)
        watched = {}
        if hook is not None:
            for path, part in nnx.iter_modules(module):
                if path:
                    object.__setattr__(part, '__class__', _watched(type(part)))
                    watched[id(part)] = functools.partial(hook, '/'.join(map(str, path)))
        options = dict(self.options)
        method = options.pop('method', type(module).__call__)
        if isinstance(method, str):
            method = getattr(type(module), method)
        function = functools.partial(method, module)
        before = _hooks.set(watched)
        try:
            return function(*args, **kwargs, **options)
        finally:
            _hooks.reset(before)

    def part(self, tree, path: str, bound=None) -> tuple['Nnx', Any]:
        """The runner of a module within, under this path, and its tree."""
        module = nnx.merge(self.graphdef, tree)
        (found,) = (m for p, m in nnx.iter_modules(module) if '/'.join(map(str, p)) == path)
        return nnx_module(found, {})

    def own(self, tree, path: str):
        """What of the tree belongs to the module under this path."""
        return self.part(tree, path)[1]


def linen(module: nn.Module, variables, options: dict) -> tuple[Linen, Any]:
    """A runner of a Linen module and its tree; `rngs` of the options are in the tree."""
    options = dict(options)
    rngs = options.pop('rngs', None)
    tree = dict(variables) if rngs is None else {**variables, _RNGS: rngs}
    return Linen(module, options, likeness.of((module, options))), tree


def nnx_module(module: nnx.Module, options: dict) -> tuple[Nnx, Any]:
    """A runner of an NNX module and its tree."""
    graphdef, state = nnx.split(module)
    return Nnx(graphdef, options, likeness.of((graphdef, options))), state


def arguments(inputs) -> tuple[tuple, dict]:
    """The inputs as arguments of a module: a tuple by place, a dict by name, else one."""
    if isinstance(inputs, dict):
        return (), inputs
    return (inputs if isinstance(inputs, tuple) else (inputs,)), {}


class Reached(Exception):
    """What was wanted of a run is here; nothing after it is run."""

    def __init__(self, value):
        super().__init__('reached')
        self.value = value


def until_reached(runner: Linen | Nnx, tree, args, kwargs, hook: Callable):
    """What the hook's `Reached` has, of a run that ends there."""
    try:
        runner.run(tree, args, kwargs, hook)
    except Reached as reached:
        return reached.value
    raise AssertionError('the run ended before what was wanted of it')


@dataclasses.dataclass(frozen=True)
class Form:
    """The names, shapes and places of the leaves of a module's tree."""

    names: tuple[str, ...] = dataclasses.field(compare=False)
    shapes: tuple[jax.ShapeDtypeStruct, ...] = dataclasses.field(compare=False, repr=False)
    structure: Any = dataclasses.field(compare=False, repr=False)
    keys: dict = dataclasses.field(compare=False, repr=False)  # the kinds of random keys by name
    like: likeness.Likeness = dataclasses.field(repr=False)

    def whole(self, leaves: dict):
        """The tree of these leaves by name, blanks in the place of those that are left out."""
        return self.structure.unflatten(
            leaves[name] if name in leaves else blank(shape, self.keys.get(name))
            for name, shape in zip(self.names, self.shapes, strict=True)
        )


def form_of(tree) -> tuple[Form, dict]:
    """The form of a tree, and its leaves by name."""
    leaves, structure = jax.tree_util.tree_flatten_with_path(tree)
    names = [
        jax.tree_util.keystr(path, simple=True, separator='/').removesuffix('/value')
        for path, _ in leaves
    ]
    arrays = [stages_lib.array(leaf) for _, leaf in leaves]
    shapes = tuple(jax.ShapeDtypeStruct(a.shape, a.dtype) for a in arrays)
    keys = {
        name: jax.random.key_impl(array)
        for name, array in zip(names, arrays, strict=True)
        if jax.dtypes.issubdtype(array.dtype, jax.dtypes.prng_key)
    }
    like = likeness.of((names, shapes, structure))
    form = Form(tuple(names), shapes, structure, keys, like)
    return form, dict(zip(names, arrays, strict=True))


def blank(shape: jax.ShapeDtypeStruct, key_kind=None):
    """Zeros, or one and the same random key, in the place of what no result depends on."""
    if key_kind is None:
        return jnp.zeros(shape.shape, shape.dtype)
    return jnp.broadcast_to(jax.random.key(0, impl=key_kind), shape.shape)


@functools.cache
def _watched(kind: type) -> type:
    """The class whose instances let the hook do what is called of them."""

    def call(self, *args, **kwargs):
        function = functools.partial(kind.__call__, self)
        hook = (_hooks.get() or {}).get(id(self))
        return function(*args, **kwargs) if hook is None else hook(self, function, args, kwargs)

    return type(kind)(kind.__name__, (kind,), {'__call__': call, '__module__': kind.__module__})
