"""One owned event loop in a thread: the sync and the async face of everything."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import os
import threading
import weakref
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError, Future
from typing import Any, Self, TypeVar

from langchain_jupyter.errors import OutOfReach, UsageError

T = TypeVar("T")

logger = logging.getLogger(__name__)

_STOP_TIMEOUT = 10.0
_LAST_WORDS = 1.0
_THREAD_ENDED = (
    "The toolkit's thread ended during the call, and the kernel that it had started with it. What the call has done is "
    "not known; the notebook has every edit that was acknowledged, and the next call opens it again."
)


class LoopBridge:
    """Carries calls from any thread and any event loop onto one loop of its own.

    The loop starts with the first call, in a daemon thread, and never keeps the interpreter from exiting. The caller's
    context variables go along, so streams and traces find their parents. Cancelling a call, or interrupting a sync
    one, cancels the coroutine once, so that its clean-up can await.

    Args:
        at_exit: Called on the loop when the interpreter exits before `close`.
        at_loss: Called on the loop when its thread is ended by something else than `close`, such as a SystemExit in a
            callback; the next call gets another thread.
    """

    def __init__(
        self,
        at_exit: Callable[[], Awaitable[None]] | None = None,
        at_loss: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()
        self._farewell = at_exit
        self._at_loss = at_loss
        atexit.register(_close_at_exit, weakref.ref(self))

    def run(self, call: Callable[[], Awaitable[T]]) -> T:
        """Call from sync code and wait.

        Raises:
            UsageError: Called from the bridge's own loop, which would wait for itself.
            OutOfReach: The thread ended during the call.
        """
        if self._on_loop():
            raise UsageError("A sync call from inside the toolkit's own loop would wait for itself: use the async one.")
        self._wait_for_end()
        future = self._submit(call)
        try:
            return future.result()
        except CancelledError as error:
            raise OutOfReach(_THREAD_ENDED) from error
        except BaseException:
            future.cancel()
            raise

    async def arun(self, call: Callable[[], Awaitable[T]]) -> T:
        """Call from async code, on any loop.

        Raises:
            OutOfReach: The thread ended during the call.
        """
        if self._on_loop():
            return await call()
        if self._ending is not None:
            await asyncio.to_thread(self._wait_for_end)
        try:
            return await asyncio.wrap_future(self._submit(call))
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise OutOfReach(_THREAD_ENDED) from error

    def close(self) -> None:
        """Cancel what still runs and end the loop; a later call starts another."""
        with self._lock:
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is not None and thread is not None and self._pid == os.getpid():
            loop.call_soon_threadsafe(loop.stop)
            thread.join(_STOP_TIMEOUT)

    def _submit(self, call: Callable[[], Awaitable[T]]) -> Future[T]:
        async def main() -> T:
            return await call()

        return asyncio.run_coroutine_threadsafe(main(), self._running_loop())

    def _on_loop(self) -> bool:
        return threading.current_thread() is self._thread

    @property
    def _ending(self) -> threading.Thread | None:
        """The thread that was ended and may still save what the next one opens."""
        with self._lock:
            ended = self._loop is None and self._pid == os.getpid()
            return self._thread if ended and self._thread is not None and self._thread.is_alive() else None

    def _wait_for_end(self) -> None:
        if (ending := self._ending) is not None:
            ending.join(2 * _STOP_TIMEOUT)

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None or self._pid != os.getpid():
                self._loop, self._pid = asyncio.new_event_loop(), os.getpid()
                self._thread = threading.Thread(
                    target=self._serve, args=(self._loop,), name="langchain-jupyter", daemon=True
                )
                self._thread.start()
            return self._loop

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
        except (SystemExit, KeyboardInterrupt) as error:
            logger.error("the thread of the toolkit was ended by a %s", type(error).__name__)
        finally:
            with self._lock:
                lost = self._loop is loop
                self._loop = None if lost else self._loop
            if lost and self._at_loss is not None:
                with contextlib.suppress(Exception):  # what could not be saved is in the journal
                    loop.run_until_complete(asyncio.wait_for(self._at_loss(), _STOP_TIMEOUT))
                    loop.run_until_complete(asyncio.wait(asyncio.all_tasks(loop), timeout=_LAST_WORDS))
            _end(loop)


class Closing:
    """The ends of what owns a bridge: `with`, `async with`, `close()` and `aclose()`."""

    @property
    def bridge(self) -> LoopBridge:
        """Carries calls onto the loop where the work is done."""
        raise NotImplementedError

    async def _end(self) -> None:
        """End what was started; on the bridge's loop."""
        raise NotImplementedError

    def close(self) -> None:
        """Save, and end what was started here. The next call of a tool opens again."""
        self.bridge.run(self._end)
        self.bridge.close()

    async def aclose(self) -> None:
        """Save, and end what was started here. The next call of a tool opens again."""
        await self.bridge.arun(self._end)
        await asyncio.to_thread(self.bridge.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: Any) -> None:
        await self.aclose()


def _end(loop: asyncio.AbstractEventLoop) -> None:
    pending = asyncio.all_tasks(loop)
    for task in pending:
        task.cancel()
    if pending:
        loop.run_until_complete(asyncio.wait(pending, timeout=_STOP_TIMEOUT / 2))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


def _close_at_exit(reference: weakref.ref[LoopBridge]) -> None:
    """Stop what we started, also when nobody closed; a kernel must not outlive us."""
    bridge = reference()
    if bridge is None or bridge._loop is None or bridge._pid != os.getpid():
        return
    if bridge._farewell is not None:
        future = bridge._submit(bridge._farewell)
        try:
            future.result(_STOP_TIMEOUT)
        except TimeoutError:
            future.cancel()
    bridge.close()
