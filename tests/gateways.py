"""Gateways for tests: servers that run kernels, and keep no notebooks."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path

from pydantic import SecretStr

from langchain_jupyter.settings import ServerSettings
from tests.servers import Child, free_port

ENTERPRISE = Path(__file__).parents[1] / "build" / "enterprise" / "bin" / "python"


def kernel_gateway(root: Path) -> Child:
    """A Kernel Gateway; its kernels run in `root`."""
    port, token = free_port(), secrets.token_urlsafe(16)
    command = [
        *(sys.executable, "-m", "kernel_gateway", "--KernelGatewayApp.ip=127.0.0.1"),
        *(f"--KernelGatewayApp.port={port}", "--KernelGatewayApp.port_retries=0"),
        f"--KernelGatewayApp.auth_token={token}",
    ]
    return Child(command, _settings(port, token), log=root / "gateway.log", cwd=root)


def enterprise_gateway(root: Path) -> Child:
    """An Enterprise Gateway; its kernels are processes of this machine."""
    assert ENTERPRISE.exists(), "Enterprise Gateway is not installed: make test-servers"
    port, token = free_port(), secrets.token_urlsafe(16)
    command = [
        *(str(ENTERPRISE), "-m", "enterprise_gateway", "--EnterpriseGatewayApp.ip=127.0.0.1"),
        *(f"--EnterpriseGatewayApp.port={port}", "--EnterpriseGatewayApp.port_retries=0"),
        f"--EnterpriseGatewayApp.auth_token={token}",
    ]
    return Child(
        command, _settings(port, token), log=root / "gateway.log", cwd=root, env={"EG_UNAUTHORIZED_USERS": "nobody"}
    )


def _settings(port: int, token: str) -> ServerSettings:
    return ServerSettings(url=f"http://127.0.0.1:{port}", token=SecretStr(token))
