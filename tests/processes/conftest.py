"""Threads in the places of processes, with a store made of a dict between them."""

import concurrent.futures
import threading

import jax
import pytest

from resnet_dyn import errors
from resnet_dyn.processes import exchange


class Store:
    """The key-value store of a coordination service, as far as it is asked."""

    def __init__(self):
        self.values, self.changed = {}, threading.Condition()

    def key_value_set_bytes(self, key, value):
        with self.changed:
            assert key not in self.values
            self.values[key] = value
            self.changed.notify_all()

    def blocking_key_value_get_bytes(self, key, timeout_in_ms):
        with self.changed:
            if not self.changed.wait_for(lambda: key in self.values, timeout_in_ms / 1000):
                raise jax.errors.JaxRuntimeError('DEADLINE_EXCEEDED: GetKeyValue() timed out')
            return self.values[key]

    def key_value_dir_get_bytes(self, prefix):
        with self.changed:
            return [(key, value) for key, value in self.values.items() if key.startswith(prefix)]

    def key_value_delete(self, prefix):
        with self.changed:
            for key in [key for key in self.values if f'{key}/'.startswith(f'{prefix}/')]:
                del self.values[key]


@pytest.fixture
def together(monkeypatch):
    """together(count, job): what `job()` returns in each of so many processes, or its error."""
    here = threading.local()

    class Signs(threading.local, exchange.Signs):
        pass

    monkeypatch.setattr(exchange, 'signs', Signs())
    monkeypatch.setattr(
        exchange, 'place', lambda: getattr(here, 'place', exchange.Place(0, 1, None))
    )

    def together(count, job, limit=60.0):
        store = together.store = Store()

        def one(index):
            here.place = exchange.Place(index, count, store)
            exchange.set_limit(limit)
            try:
                return job()
            except errors.UserError as error:
                return error

        with concurrent.futures.ThreadPoolExecutor(count) as pool:
            return list(pool.map(one, range(count)))

    return together
