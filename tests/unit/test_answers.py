from __future__ import annotations

import pytest

from langchain_jupyter.servers.answers import KernelModel, SessionModel, checked


@pytest.mark.parametrize(("counted", "others"), [(None, 0), (-1, 0), (0, 0), (2, 2)])
def test_a_server_may_miscount_who_is_on_a_kernel(counted: int | None, others: int) -> None:
    kernel = {"id": "k1", "name": "python3", "connections": counted}

    session = checked(SessionModel, {"id": "s1", "kernel": kernel})

    assert session.kernel == KernelModel("k1", "python3", connections=counted)
    assert session.kernel.others == others
