"""A document that nobody keeps: for code without a notebook, and for tests."""

from __future__ import annotations

from langchain_jupyter.documents.notebook import NotebookDocument


class MemoryStore:
    """An empty document that ends with the session."""

    path = "(no notebook)"
    saved = True

    async def open(self) -> NotebookDocument:
        """A new, empty document."""
        self._document = NotebookDocument()
        self._document.load([], {})
        return self._document

    async def save(self) -> None:
        """Nothing is kept."""

    async def settle(self) -> str:
        """There is nowhere to keep it."""
        self._document.renew()
        return ""

    async def refresh(self) -> None:
        """Nobody else can change it."""

    async def close(self) -> None:
        """Nothing to release."""
