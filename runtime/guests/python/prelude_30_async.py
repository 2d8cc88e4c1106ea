"""An asyncio event loop for a world without sockets, threads or signals: timers and callbacks only.

It never opens a descriptor. Where every task waits for something that nothing can bring about, it raises instead of
sleeping until the deadline.
"""

import asyncio
import asyncio.base_events
import asyncio.runners
import asyncio.unix_events
import time


class _Waiter:
    """In the selector's place: waits for time only."""

    _sleep = time.sleep

    def select(self, timeout):
        if timeout is None:
            raise RuntimeError("deadlock: every task waits, and nothing in this sandbox can wake one of them")
        if timeout > 0:
            _Waiter._sleep(timeout)
        return ()

    def close(self):
        pass


class EventLoop(asyncio.base_events.BaseEventLoop):
    def __init__(self, selector=None):
        super().__init__()
        self._selector = _Waiter()

    def _process_events(self, events):
        pass

    def _write_to_self(self):
        pass

    def run_in_executor(self, executor, func, *args):
        """Runs the function here and now: there are no threads to give it to."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    async def shutdown_default_executor(self, timeout=None):
        pass

    async def subprocess_exec(self, *args, **kwargs):
        raise _no_process()

    async def subprocess_shell(self, *args, **kwargs):
        raise _no_process()

    async def create_connection(self, *args, **kwargs):
        raise _no_network()

    create_server = create_datagram_endpoint = create_unix_connection = create_unix_server = create_connection


EventLoop.__module__ = "asyncio"
for _place in (asyncio, asyncio.unix_events):
    for _name in ("SelectorEventLoop", "EventLoop", "_UnixSelectorEventLoop"):
        if hasattr(_place, _name):
            setattr(_place, _name, EventLoop)
for _name in ("DefaultEventLoopPolicy", "_DefaultEventLoopPolicy", "_UnixDefaultEventLoopPolicy"):
    if hasattr(asyncio.unix_events, _name):
        getattr(asyncio.unix_events, _name)._loop_factory = EventLoop

_loop = None


def run_coroutine(coroutine):
    """Runs the coroutine of a turn with top-level await. The loop lives on, with the tasks that are still in it."""
    global _loop
    if _loop is None or _loop.is_closed():
        _loop = EventLoop()
    asyncio.events.set_event_loop(_loop)
    return _loop.run_until_complete(coroutine)
