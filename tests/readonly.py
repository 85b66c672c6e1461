"""A contents manager for servers of tests: a file whose name begins with `readonly` may not be written.

Permissions of the file system would not do, since root, as whom tests may run, may write everything.
"""

from __future__ import annotations

from typing import Any

from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager


class ReadOnlyFiles(AsyncLargeFileManager):
    """The usual one, but for those files."""

    async def get(self, path: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        model: dict[str, Any] = await super().get(path, *args, **kwargs)  # type: ignore[no-untyped-call]
        return {**model, "writable": False} if path.strip("/").startswith("readonly") else model
