"""Kernels that a server ends because nobody uses them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.faulttable import injects
from tests.servers import collaboration_server, jupyter_server
from tests.trials import Ground, GroundOf, Trial

pytestmark = pytest.mark.asyncio(loop_scope="module")

CULL = [f"--MappingKernelManager.cull_{name}" for name in ("idle_timeout=4", "interval=1", "connected=True")]


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> GroundOf:
    """A server for each place, that ends kernels which nobody uses."""

    @asynccontextmanager
    async def at(place: str) -> AsyncIterator[Ground]:
        root = tmp_path_factory.mktemp("root")
        room = place.startswith("room")
        async with collaboration_server(root, root / "state", *CULL) if room else jupyter_server(root, *CULL) as child:
            yield Ground(root, child.settings)

    return at


@injects("the server culls the kernel")
async def test_a_kernel_that_is_culled(trial: Trial) -> None:
    async with trial as bench:
        await bench.call("run_code", code="0")
        session = await bench.session()
        trial.begins()
        async with asyncio.timeout(60):
            while session.kernel.info.state != "dead":
                await asyncio.sleep(0.02)
        answer = await bench.call("run_code", code="0")
        trial.told("note", answer)

        assert "restarted since your last call: all variables are gone" in answer.text
