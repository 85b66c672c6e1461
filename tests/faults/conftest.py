"""A test that injects a fault gets a `trial` at each place; benches are shared by the tests of a module."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from langchain_jupyter.servers.lab import LabServer
from tests.faulttable import documented
from tests.servers import Child
from tests.trials import Benches, Ground, GroundOf, Trial


@pytest.fixture(scope="module")
def ground(lab: LabServer, bare: tuple[Child, Path], tmp_path_factory: pytest.TempPathFactory) -> GroundOf:
    """Servers that the whole test run shares. A module whose trials harm servers has some of its own."""

    @asynccontextmanager
    async def at(place: str) -> AsyncIterator[Ground]:
        server, root = bare
        if place.startswith("room"):
            yield Ground(lab.root, lab.settings)
        elif place.startswith("contents"):
            yield Ground(root, server.settings)
        else:
            yield Ground(tmp_path_factory.mktemp("files"), server.settings if "remote" in place else None)

    return at


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def benches(ground: GroundOf, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Benches]:
    """Toolkits at all places. Journals of notebooks on servers are not those of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        benches = Benches(ground, tmp_path_factory.mktemp("scratch"))
        yield benches
        await benches.close()


@pytest.fixture
def trial(request: pytest.FixtureRequest, benches: Benches) -> Trial:
    """One fault at one place, as `injects` names them; its rows are printed at the end of the test run."""
    fault, place = request.param
    request.node.user_properties.append(("begun", (fault, place)))
    return Trial(documented()[fault], place, benches, lambda told: request.node.user_properties.append(("told", told)))
