"""A person at JupyterLab, in a real browser."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from playwright.async_api import ConsoleMessage, Error, Locator, Page, WebSocket, expect

from langchain_jupyter.servers.answers import SessionModel
from langchain_jupyter.servers.lab import LabServer
from langchain_jupyter.servers.server import JupyterServer

_PATIENCE = 60_000  # milliseconds
expect.set_options(timeout=_PATIENCE)
# What JupyterLab itself says on a quiet machine without the internet, whoever works in the notebook.
_NOT_OURS = ("favicon", "Download the React DevTools")


class Person:
    """Reads, types, runs and undoes as people do: with eyes, mouse and keyboard.

    Attributes:
        complaints: Errors on the browser's console so far.
    """

    def __init__(self, page: Page, lab: LabServer) -> None:
        self._page = page
        self._lab = lab
        self.complaints: list[str] = []
        self._lines: list[WebSocket] = []
        page.on("websocket", lambda line: self._lines.append(line))  # playwright takes no built-in
        page.on("console", self._heard)
        page.on("pageerror", self._broke)
        page.set_default_timeout(_PATIENCE)

    async def opens(self, notebook: str) -> None:
        """Open a notebook, and wait until its kernel is there: the one that the server lists for it, and no other."""
        self._lines.clear()
        await self._page.goto(f"{self._lab.page(notebook)}&reset")  # without what was open before
        await self._page.locator(".jp-Notebook .jp-Cell").first.wait_for()
        await expect(self._page.locator(".jp-Notebook-ExecutionIndicator")).to_have_attribute("data-status", "idle")
        listed, connected = list[str](), set[str]()
        try:
            async with asyncio.timeout(_PATIENCE / 1000):
                while not connected or connected != set(listed):
                    listed, connected = await self._listed(notebook), self._connected
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"the page is on {connected}, and the server lists {listed}") from None

    def cell(self, at: int) -> Locator:
        """A cell by its position, from 0."""
        return self._page.locator(".jp-Notebook .jp-Cell").nth(at)

    def outputs(self, at: int) -> Locator:
        """What a cell shows below its source."""
        return self.cell(at).locator(".jp-OutputArea-output")

    def prompt(self, at: int) -> Locator:
        """The `[3]:` or `[*]:` beside a cell."""
        return self.cell(at).locator(".jp-InputPrompt")

    @property
    def carets(self) -> Locator:
        """The carets of other people."""
        return self._page.locator(".jp-remote-cursor")

    async def collaborators(self) -> Locator:
        """Who else is on the server: the list in the side panel, which is opened."""
        await self._page.locator('.jp-SideBar [data-id="jp-collaboration-panel"]').click()
        return self._page.locator("#jp-collaboration-panel .jp-CollaboratorsList .jp-Collaborator")

    async def reads(self, at: int, source: str) -> None:
        """Wait until a cell's editor shows this text and no other."""
        await expect(self.cell(at).locator(".cm-line")).to_have_text(source.split("\n"))

    async def clicks_into(self, at: int) -> None:
        """Put the caret at the end of a cell."""
        await self.cell(at).locator(".cm-content").click()
        await self._page.keyboard.press("Control+End")

    async def types(self, text: str, *, delay: float = 0) -> None:
        """Type where the caret is, with so many milliseconds between the keys."""
        await self._page.keyboard.type(text, delay=delay)

    async def presses(self, key: str) -> None:
        """Press a key, such as `Control+Enter`, which runs the cell."""
        await self._page.keyboard.press(key)

    async def photographs(self, path: Path) -> None:
        """Take a screenshot."""
        await self._page.screenshot(path=path)

    @property
    def _connected(self) -> set[str]:
        """Ids of the kernels that the page has a line to."""
        found = (re.search(r"/api/kernels/([^/]+)/channels", line.url) for line in self._lines if not line.is_closed())
        return {match[1] for match in found if match is not None}

    async def _listed(self, notebook: str) -> list[str]:
        """Ids of the kernels that the server lists for a notebook."""
        server = JupyterServer(self._lab.settings)
        try:
            sessions = await server.read(list[SessionModel], "/api/sessions")
        finally:
            await server.close()
        return [each.kernel.id for each in sessions if each.path == notebook and each.kernel is not None]

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not any(known in message.text for known in _NOT_OURS):
            self.complaints.append(message.text)

    def _broke(self, error: Error) -> None:
        self.complaints.append(str(error))
