"""A real browser: Debian's Chromium, without a screen."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Page, async_playwright

from langchain_jupyter.servers.lab import LabServer
from tests.browser.person import Person

# Without a sandbox only for root, who has none; and without what Chromium looks up on the internet at each start.
_OPTIONS = [
    *(["--no-sandbox"] if os.geteuid() == 0 else []),
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.browser)


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    """A page of its own for each test."""
    chromium = shutil.which("chromium")
    assert chromium, "`make test-browser` installs Chromium"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=_OPTIONS)
        yield await browser.new_page(viewport={"width": 1200, "height": 940})
        await browser.close()


@pytest.fixture
async def person(lab: LabServer, page: Page) -> AsyncIterator[Person]:
    person = Person(page, lab)
    yield person
    assert not person.complaints
