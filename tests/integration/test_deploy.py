"""What stands in deploy/: checked by schemas, and the images' own commands run. No Docker engine is needed, and none is
tried: that the images build is not shown here.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from compose_spec import ComposeSpecification

from tests.serving import served

DEPLOY = Path(__file__).parents[2] / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
BIN = Path(sys.executable).parent
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
KUSTOMIZATION = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())
RESOURCES = [yaml.safe_load((KUBERNETES / name).read_text()) for name in KUSTOMIZATION["resources"]]


def resource(kind: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in RESOURCES if each["kind"] == kind)
    return found


def server_stage() -> str:
    return DOCKERFILE[DOCKERFILE.index("AS server\n") :]


def instruction(name: str) -> list[str]:
    """The words of an instruction in its JSON form, in the last stage."""
    found = re.search(rf"{name} (\[.*\])", server_stage())
    assert found is not None
    words: list[str] = json.loads(found[1])
    return words


def test_the_dockerfile_is_clean() -> None:
    done = subprocess.run([BIN / "hadolint", DEPLOY / "Dockerfile"], capture_output=True, text=True, timeout=60)

    assert (done.returncode, done.stdout) == (0, "")


def test_images_are_pinned_and_not_root() -> None:
    bases = re.findall(r"^FROM (\S+) AS (\S+)$", DOCKERFILE, re.MULTILINE)

    assert bases[0][0].count(":") == 1
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", bases[0][0])
    assert all(base in {name for _, name in bases} for base, _ in bases[1:])
    assert re.findall(r"^USER (\d+)$", server_stage(), re.MULTILINE) == ["10001"]


def test_what_the_images_copy_is_there_and_not_ignored() -> None:
    root = DEPLOY.parent
    copied = {
        word for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE) for word in line.split()[:-1]
    }
    let_in = {
        line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")
    }

    assert copied == let_in
    assert [name for name in copied if not (root / name).exists()] == []


def test_the_commands_of_the_image_serve_and_tell_their_health(tmp_path: Path) -> None:
    entry, check = instruction("ENTRYPOINT"), instruction("CMD")
    variables = dict(
        re.findall(r"(\w+)=(\S+?)(?: \\)?$", re.search(r"ENV (.*?)USER", server_stage(), re.DOTALL)[1], re.MULTILINE)
    )  # type: ignore[index]
    assert entry == ["langchain-jupyter", "serve"]
    assert variables["PORT"] in check[-1]

    with served(
        "", command=[str(BIN / entry[0]), *entry[1:]], **{**variables, "PORT": "0"}, ROOM_ID=str(tmp_path / "a.ipynb")
    ) as process:
        url = process.url.replace("0.0.0.0", "127.0.0.1")
        healthy = subprocess.run([BIN / check[0], *check[1:-1], url], capture_output=True, text=True, timeout=60)

    assert healthy.returncode == 0
    assert healthy.stdout.startswith("healthy")


def test_compose_follows_its_specification() -> None:
    ComposeSpecification.model_validate(COMPOSE)
    if (compose := shutil.which("docker-compose")) is not None:
        command = [compose, "-f", str(DEPLOY / "compose.yaml"), "config", "-q"]
        environment = {"JUPYTER_TOKEN": "a", "MCP_TOKEN": "b", "PATH": "/usr/bin:/bin"}
        subprocess.run(command, check=True, capture_output=True, timeout=60, env=environment)


def test_compose_names_the_variables_of_the_guide_and_has_no_token_of_its_own() -> None:
    mcp, lab = COMPOSE["services"]["mcp"], COMPOSE["services"]["jupyterlab"]
    targets = {service["build"]["target"] for service in (mcp, lab)}

    assert {"PROVIDER", "ROOM_URL", "ROOM_ID", "ROOM_TOKEN", "RUNTIME_URL", "RUNTIME_TOKEN"} <= mcp[
        "environment"
    ].keys()
    assert all(mcp["environment"][name].startswith("${") for name in ("ROOM_TOKEN", "RUNTIME_TOKEN", "MCP_TOKEN"))
    assert all(f"AS {target}\n" in DOCKERFILE for target in targets)
    assert int(mcp["stop_grace_period"].removesuffix("s")) > int(re.search(r"GRACE=(\d+)", DOCKERFILE)[1])  # type: ignore[index]
    assert [line for line in (DEPLOY / ".env.example").read_text().splitlines() if "TOKEN=" in line] == [
        "JUPYTER_TOKEN=",
        "MCP_TOKEN=",
    ]


@pytest.mark.parametrize("manifest", RESOURCES, ids=lambda each: each["kind"])
def test_manifests_follow_the_schemas_of_kubernetes(manifest: dict[str, Any]) -> None:
    kubernetes_validate.validate(manifest, "1.30", strict=True)


def test_the_manifests_fit_together() -> None:
    deployment, service = resource("Deployment"), resource("Service")
    pod = deployment["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    labels = pod["metadata"]["labels"].items()
    secrets = {each["valueFrom"]["secretKeyRef"]["key"] for each in container["env"]}

    assert service["spec"]["selector"].items() <= labels
    assert resource("PodDisruptionBudget")["spec"]["selector"]["matchLabels"].items() <= labels
    assert resource("NetworkPolicy")["spec"]["podSelector"]["matchLabels"].items() <= labels
    assert ports[service["spec"]["ports"][0]["targetPort"]] == service["spec"]["ports"][0]["port"] == 4040
    assert service["spec"]["sessionAffinity"] == "ClientIP"
    assert deployment["spec"]["replicas"] == 2
    assert service["metadata"]["name"] in container["args"]
    assert pod["spec"]["terminationGracePeriodSeconds"] > int(re.search(r"GRACE=(\d+)", DOCKERFILE)[1])  # type: ignore[index]
    assert {container[probe]["httpGet"]["path"] for probe in ("livenessProbe", "readinessProbe")} == {"/api/healthz"}
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["image"] == KUSTOMIZATION["images"][0]["name"]
    assert KUSTOMIZATION["configMapGenerator"][0]["name"] == container["envFrom"][0]["configMapRef"]["name"]
    assert KUSTOMIZATION["secretGenerator"][0]["name"] == container["env"][0]["valueFrom"]["secretKeyRef"]["name"]
    assert secrets == set(re.findall(r"^(\w+)=$", (KUBERNETES / "secrets.env.example").read_text(), re.MULTILINE))
