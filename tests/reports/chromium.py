"""A page opened in a headless Chromium, spoken to in its DevTools protocol over two pipes.

    with chromium.opened(path) as page:
        page.run('1 + 1')                     2
        page.requests, page.complaints        all addresses asked for; what the console says

Source: https://chromedevtools.github.io/devtools-protocol, --remote-debugging-pipe.
"""

import base64
import contextlib
import itertools
import json
import os
import pathlib
import select
import shutil
import signal
import tempfile
import time

NAMES = ('chromium', 'chromium-browser', 'google-chrome')
_FLAGS = (
    '--headless=new',
    '--disable-gpu',
    '--no-sandbox',
    '--disable-dev-shm-usage',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-extensions',
    '--window-size=1400,1000',
    '--remote-debugging-pipe',
)
_PATIENCE = 120.0  # seconds, on a machine that is busy


def found() -> str | None:
    """The path of the browser; None where there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextlib.contextmanager
def opened(path):
    """The page of a file, once its scripts say that they are ready."""
    ours, its = os.pipe(), os.pipe()  # what it says, what it hears
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [found(), *_FLAGS, f'--user-data-dir={profile}', 'about:blank']
        actions = [
            (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_DUP2, its[0], 3),
            (os.POSIX_SPAWN_DUP2, ours[1], 4),
        ]
        process = os.posix_spawn(command[0], command, os.environ, file_actions=actions)
        os.close(its[0])
        os.close(ours[1])
        try:
            yield Page(ours[0], its[1], pathlib.Path(path).absolute().as_uri())
        finally:
            os.kill(process, signal.SIGTERM)
            os.waitpid(process, 0)
            os.close(ours[0])
            os.close(its[1])


class Page:
    """A page that is open; `run` evaluates an expression, and waits for it if it is a promise."""

    def __init__(self, hears: int, says: int, address: str):
        self._hears, self._says, self._rest = hears, says, b''
        self._numbers, self._session = itertools.count(1), None
        self.requests: list[str] = []
        self.complaints: list[str] = []
        target = self.call('Target.createTarget', url='about:blank')['targetId']
        found = self.call('Target.attachToTarget', targetId=target, flatten=True)
        self._session = found['sessionId']
        for domain in ('Page', 'Runtime', 'Network', 'Log'):
            self.call(f'{domain}.enable')
        self.call('Page.navigate', url=address)
        self.wait('window.report && window.report.ready')

    def run(self, expression: str):
        """The value of an expression of JavaScript."""
        found = self.call(
            'Runtime.evaluate', expression=expression, awaitPromise=True, returnByValue=True
        )
        if 'exceptionDetails' in found:
            raise AssertionError(f'{expression}: {found["exceptionDetails"]}')
        return found['result'].get('value')

    def wait(self, expression: str) -> None:
        """Until an expression is true."""
        until = time.monotonic() + _PATIENCE
        while not self.run(f'Boolean({expression})'):
            if time.monotonic() > until:
                raise AssertionError(f'never: {expression}; the console: {self.complaints}')
            time.sleep(0.05)

    def picture(self, path) -> None:
        """Writes what is seen of the whole page as a PNG."""
        made = self.call('Page.captureScreenshot', captureBeyondViewport=True)
        pathlib.Path(path).write_bytes(base64.b64decode(made['data']))

    def call(self, method: str, **parameters):
        """One command of the protocol; its answer."""
        number = next(self._numbers)
        message = {'id': number, 'method': method, 'params': parameters}
        if self._session:
            message['sessionId'] = self._session
        os.write(self._says, json.dumps(message).encode() + b'\0')
        until = time.monotonic() + _PATIENCE
        while True:
            heard = self._next(until)
            self._notice(heard)
            if heard.get('id') == number:
                if 'error' in heard:
                    raise AssertionError(f'{method}: {heard["error"]}')
                return heard['result']

    def _next(self, until: float) -> dict:
        while b'\0' not in self._rest:
            ready, *_ = select.select([self._hears], [], [], max(0.0, until - time.monotonic()))
            some = os.read(self._hears, 1 << 20) if ready else b''
            if not some:
                raise AssertionError('Chromium ended, or does not answer')
            self._rest += some
        message, self._rest = self._rest.split(b'\0', 1)
        return json.loads(message)

    def _notice(self, heard: dict) -> None:
        said = heard.get('params', {})
        match heard.get('method'):
            case 'Network.requestWillBeSent':
                self.requests.append(said['request']['url'])
            case 'Runtime.exceptionThrown':
                self.complaints.append(str(said['exceptionDetails']))
            case 'Runtime.consoleAPICalled' if said['type'] in ('error', 'warning', 'assert'):
                self.complaints.append(str(said['args']))
            case 'Log.entryAdded' if said['entry']['level'] in ('error', 'warning'):
                self.complaints.append(said['entry']['text'])
