"""A user's own notebook client, of jupyter-nbmodel-client."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pycrdt import Map, MapEvent, TransactionEvent, create_update_message, handle_sync_message

from langchain_jupyter.documents.aside import as_it_was, kept_here, moved
from langchain_jupyter.documents.notebook import NotebookDocument
from langchain_jupyter.documents.provider import Replica
from langchain_jupyter.documents.rebase import EditKeeper
from langchain_jupyter.documents.whole import refuse
from langchain_jupyter.errors import DocumentError

T = TypeVar("T")

logger = logging.getLogger(__name__)

_SETTLE = 3.0
_SAVE = 10.0
_CLOSE = 5.0
_STOP = 5.0


class ClientStore:
    """The notebook of a `jupyter_nbmodel_client.NbModelClient` that its user has made.

    Our own replica is joined to the client's model within this process, so that the client may run on any event loop:
    its user's, where it was started, or the toolkit's, where `open` starts it if nobody has. Who started it stops it.

    It cannot do what `RoomStore` does:
        - A line that breaks is not taken up again: the client empties its model then. Later calls fail with
          DocumentError; what the server had not got by then is lost. Make a new client, and a new toolkit.
        - Acknowledged means handed to the client; whether the server has got it is not known. With a client on the
          user's loop that takes a moment in which that loop must not be blocked: call the tools with `ainvoke` there.
        - It starts without an error where the token is wrong, or the document is larger than 16 MB
          (`ws_max_body_size`): we wait, and say that it did not synchronise. Its log shows the URL with the token.
        - It cannot save: the server does, a second after the last change, if autosave is on. `save` and `close` wait
          for that, so that closing takes a second.
        - Where somebody moves a cell while it is edited here, and the edit may not stand as it should, a copy of the
          notebook as it was here goes into a file of this machine, not beside the notebook on the server.
        - People see its `username` as an "owner", without a name, a colour or a cursor.

    Args:
        client: The client, started or not; with `start()` or `async with`, not with `run()`.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._replica = Replica()
        self._document: NotebookDocument
        self._loop: asyncio.AbstractEventLoop
        self._here: asyncio.AbstractEventLoop
        self._model: Any = None
        self._subscriptions: list[Any] = []
        self._doubtful: dict[str, Mapping[str, Any]] = {}
        self._applying = self._started_here = self._closed = self._deaf = False
        self._written = asyncio.Event()
        self._version = self._written_version = 0

    @property
    def path(self) -> str:
        """As the client was given it; its URL, which has the token, is not shown."""
        path = str(self._client.path)
        return "the client's notebook" if "://" in path else path

    @property
    def saved(self) -> bool:
        """Whether the server has written the file since the last change that we know of."""
        return self._version == self._written_version

    async def open(self) -> NotebookDocument:
        """The client's notebook.

        Raises:
            DocumentError: The client does not synchronise.
        """
        self._here = asyncio.get_running_loop()
        await self._start()
        self._model = self._client._doc.ydoc
        self._replica.take(create_update_message(await self._there(self._listen)))
        self._replica.connect(self._hand_over)
        self._document = NotebookDocument(self._replica.ydoc)
        keeper = EditKeeper(self._document, doubt=self._doubtful.update)
        self._replica.before, self._replica.after = keeper.brace, keeper.mend
        state = self._replica.ydoc.get("state", type=Map)
        self._subscriptions += [state, state.observe(self._state_changed)]
        self._document.listen(self._changed)
        return self._document

    async def save(self) -> None:
        """Wait until the server has written the file, which it does by itself.

        Raises:
            DocumentError: It has not, in some seconds, or the client has lost the server.
        """
        if pending := await self.settle():
            raise DocumentError(pending)
        if not await self._written_within(_SAVE):
            raise DocumentError(
                f"The server has not written {self.path} in {_SAVE:.0f}s, and a NbModelClient cannot make it."
            )

    async def settle(self) -> str:
        """Wait until the client has what was changed so far."""
        try:
            async with asyncio.timeout(_SETTLE):
                await self._there(lambda: None)
        except TimeoutError:
            return "Not yet with the NbModelClient: its event loop is blocked. It is handed over when that goes on."
        return "" if self._alive else _LOST

    async def refresh(self) -> None:
        """What others change arrives by itself; this tells what stands in its way.

        Raises:
            DocumentError: The client has lost the server, or was stopped.
            DocumentConflict: Edits of ours may not stand where they should; told once.
        """
        if not self._alive:
            raise DocumentError(_LOST)
        if self._doubtful:
            doubtful = list(self._doubtful)
            copy = kept_here(self.path, as_it_was(self._document, self._doubtful))
            self._doubtful.clear()
            raise moved(self._document, self.path, doubtful, copy)

    async def close(self) -> None:
        """Hand over the rest, and wait some seconds until the server has written it; edits are refused from now on.

        The client is stopped if it was started here.

        Raises:
            DocumentError: The client had lost the server, and may not have sent all.
        """
        if self._closed:
            return
        self._closed = True
        self._document.journal.keep = refuse
        pending = await self.settle()
        if not pending and not await self._written_within(_CLOSE):
            logger.warning("%s: not saved before it was closed; the server does it by itself", self.path)
        self._deaf = True
        self._replica.close()
        if self._started_here:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_STOP):
                    await self._client.stop()
        if pending:
            raise DocumentError(pending)

    # -- inside -------------------------------------------------------------------------------------------------

    async def _written_within(self, seconds: float) -> bool:
        """Whether the server has written the file, by then at the latest."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self.saved:
                    self._written.clear()
                    await self._written.wait()
        return self.saved

    @property
    def _alive(self) -> bool:
        """The client throws its model away when the line breaks."""
        return bool(self._client.synced) and self._client._doc.ydoc is self._model

    async def _start(self) -> None:
        if not self._client.synced:
            try:
                await self._client.start()
            except RuntimeError as error:
                raise DocumentError("The NbModelClient has not synchronised with its server yet.") from error
            self._started_here = True
        # Its own attribute, by the name that Python gives a private one: the only way to learn where it runs.
        running: asyncio.Task[None] | None = getattr(self._client, "_NbModelClient__run", None)
        if running is None or not self._client.synced:
            if self._started_here:
                await self._client.stop()
            raise DocumentError(
                "The NbModelClient did not synchronise with its server: is the token right, the server there, and the "
                "document below 16 MB? Its log says more. It must be started with start() or `async with`."
            )
        self._loop = running.get_loop()

    async def _there(self, call: Callable[[], T]) -> T:
        """Call on the client's loop, after all that was handed over before."""
        done: asyncio.Future[T] = self._here.create_future()

        def perform() -> None:
            self._here.call_soon_threadsafe(_resolve, done, call())

        try:
            self._loop.call_soon_threadsafe(perform)
        except RuntimeError as error:
            raise DocumentError(_LOST) from error
        return await done

    def _listen(self) -> bytes:
        with self._client._lock:
            self._subscriptions.append(self._model.observe(self._theirs_changed))
            update: bytes = self._model.get_update()
        return update

    def _theirs_changed(self, event: TransactionEvent) -> None:
        """On the client's loop, within its transaction."""
        if not self._applying and not self._deaf:
            message = create_update_message(event.update)
            with contextlib.suppress(RuntimeError):  # our loop has ended
                self._here.call_soon_threadsafe(self._replica.take, message)

    def _hand_over(self, message: bytes) -> None:
        with contextlib.suppress(RuntimeError):  # its loop has ended: `settle` says so
            self._loop.call_soon_threadsafe(self._apply, message)

    def _apply(self, message: bytes) -> None:
        """On the client's loop."""
        with self._client._lock:
            self._applying = True
            try:
                handle_sync_message(message[1:], self._model)
            finally:
                self._applying = False

    def _changed(self) -> None:
        self._version += 1

    def _state_changed(self, event: MapEvent) -> None:
        """The server notes the hash of the file here when it has saved."""
        if "hash" in event.keys:  # type: ignore[attr-defined]
            self._written_version = self._version
            self._written.set()


def _resolve(done: asyncio.Future[T], result: T) -> None:
    if not done.done():
        done.set_result(result)


_LOST = (
    "The NbModelClient has lost its server or was stopped, and has emptied its model; what it had not sent is lost. "
    "Make a new client and a new toolkit."
)
