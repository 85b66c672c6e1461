"""What keeps a document: a file, a collaboration room, a server."""

from __future__ import annotations

from typing import Protocol

from langchain_jupyter.documents.notebook import NotebookDocument


class DocumentStore(Protocol):
    """Opens a document, keeps what is changed in it, and takes in what others change."""

    @property
    def path(self) -> str:
        """As the user gave it."""

    @property
    def saved(self) -> bool:
        """Whether the whole is where others read it."""

    async def open(self) -> NotebookDocument:
        """The document as it stands, what was acknowledged before a crash included.

        Raises:
            DocumentError: It cannot be opened; nothing was changed.
        """

    async def save(self) -> None:
        """Write the whole now.

        Raises:
            DocumentError: It cannot be written; what stood there before is intact.
            DocumentConflict: Others changed the same cells; their version stands, ours is beside it.
        """

    async def settle(self) -> str:
        """Wait until what was changed so far is kept: in the journal, or known to the server.

        Returns:
            What the caller has to be told, where it is not kept yet; empty if it is.
        """

    async def refresh(self) -> None:
        """Take in what others have changed outside; cheap when nothing has.

        Raises:
            DocumentError: A save in the background has failed; told once for each failure.
            DocumentConflict: As `save`.
        """

    async def close(self) -> None:
        """Save and release; edits are refused with NotKept from now on. Once it has succeeded, does nothing more.

        Raises:
            DocumentError: As `save`; released all the same.
        """
