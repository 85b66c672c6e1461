"""What stands in deploy/: checked by schemas, and the images' own commands run. No Docker engine is needed, and none is
tried: that the images build is not shown here.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import kubernetes_validate
import pytest
import yaml
from compose_spec import ComposeSpecification

from langchain_jupyter.servers.lab import LabServer
from tests import notebooks
from tests.serving import call, served, text_of, until

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


def stage(name: str) -> str:
    """The instructions of a stage of the Dockerfile, one a line."""
    text = re.search(rf"^FROM \S+ AS {name}\n(.*?)(?=^FROM |\Z)", DOCKERFILE, re.MULTILINE | re.DOTALL)
    assert text is not None
    return re.sub(r"\s*\\\n\s*", " ", text[1])


def instruction(name: str, of: str = "server") -> list[str]:
    """The words of an instruction in its JSON form."""
    found = re.search(rf"{name} (\[.*\])", stage(of))
    assert found is not None
    words: list[str] = json.loads(found[1])
    return words


def variables() -> dict[str, str]:
    """What the server's stage sets in the environment."""
    found = re.search(r"^ENV (.*)$", stage("server"), re.MULTILINE)
    assert found is not None
    return dict(each.split("=", 1) for each in found[1].split())


def healthy(url: str, programs: Path) -> bool:
    """Whether the health check of the image says so of a server that listens elsewhere."""
    program, *arguments = instruction("CMD")
    arguments = [each.replace("http://127.0.0.1:4040", url.replace("0.0.0.0", "127.0.0.1")) for each in arguments]
    assert url.rpartition(":")[2] in " ".join(arguments)
    return subprocess.run([programs / program, *arguments], capture_output=True, timeout=60).returncode == 0


def test_the_dockerfile_is_clean() -> None:
    done = subprocess.run([BIN / "hadolint", DEPLOY / "Dockerfile"], capture_output=True, text=True, timeout=60)

    assert (done.returncode, done.stdout) == (0, "")


def test_images_are_pinned_and_not_root() -> None:
    bases = re.findall(r"^FROM (\S+) AS (\S+)$", DOCKERFILE, re.MULTILINE)

    assert bases[0][0].count(":") == 1
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", bases[0][0])
    assert all(base in {name for _, name in bases} for base, _ in bases[1:])
    assert re.findall(r"^USER (\d+)$", stage("server"), re.MULTILINE) == ["10001"]


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
    entry = instruction("ENTRYPOINT")
    assert entry == ["langchain-jupyter", "serve"]
    command = [str(BIN / entry[0]), *entry[1:]]

    with served("", command=command, **{**variables(), "PORT": "0"}, ROOM_ID=str(tmp_path / "a.ipynb")) as process:
        url = process.url
        fine = healthy(url, BIN)

    assert fine
    assert not healthy(url, BIN)


@pytest.mark.servers
@pytest.mark.timeout(600)
def test_the_image_is_made_by_its_commands_and_works_beside_jupyterlab(lab: LabServer, tmp_path: Path) -> None:
    source, environment = tmp_path / "src", tmp_path / "venv"
    source.mkdir()
    for names in re.findall(r"^COPY (.*) \S+$", stage("build-server"), re.MULTILINE):
        for name in names.split():
            copy = shutil.copytree if (DEPLOY.parent / name).is_dir() else shutil.copy
            copy(DEPLOY.parent / name, source / name)
    (made,) = re.findall(r"^RUN (.*)$", stage("build-server"), re.MULTILINE)
    made = made.replace("/opt/venv", str(environment)).replace("python -m venv", f"{sys.executable} -m venv")
    path = f"{environment / 'bin'}:{os.environ['PATH']}"
    subprocess.run(["sh", "-ec", made], cwd=source, check=True, timeout=500, env={**os.environ, "PATH": path})

    # As compose.yaml starts it beside a JupyterLab whose folder is still empty.
    service = COMPOSE["services"]["mcp"]
    token = lab.settings.token.get_secret_value()
    filled = {name: re.sub(r"^\$\{ROOM_ID:-(.*)\}$", r"\1", value) for name, value in service["environment"].items()}
    filled |= dict.fromkeys(("ROOM_TOKEN", "RUNTIME_TOKEN"), token) | dict.fromkeys(
        ("ROOM_URL", "RUNTIME_URL"), lab.settings.url
    )
    del filled["MCP_TOKEN"]
    command = [str(environment / "bin" / "langchain-jupyter"), "serve", *service["command"]]
    with served("", command=command, **{**variables(), "PORT": "0"}, **filled) as process:
        fine = healthy(process.url, environment / "bin")
        with httpx.Client(
            base_url=process.url.replace("0.0.0.0", "127.0.0.1"), headers=process.headers, timeout=60
        ) as http:
            ran = call(http, "append_execute_code_cell", headers={"Host": "mcp:4040"}, source="print('composed')")
            until(lambda: "composed" in notebooks.text(lab.root / filled["ROOM_ID"]))

    assert fine
    assert "composed" in text_of(ran)


def test_the_image_of_jupyterlab_installs_what_the_tests_run_with() -> None:
    pins = dict(line.split("==") for line in (DEPLOY.parent / "constraints.txt").read_text().split() if "==" in line)
    (installed,) = re.findall(
        r"^RUN .* pip install --no-cache-dir -c /src/constraints.txt (.*)$", stage("build-lab"), re.MULTILINE
    )

    entry = instruction("ENTRYPOINT", "lab")

    assert {name: version(name) for name in installed.split()} == {name: pins[name] for name in installed.split()}
    assert subprocess.run([BIN / entry[0], *entry[1:], "--version"], capture_output=True, timeout=60).returncode == 0


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


@pytest.mark.servers
def test_the_manifests_that_are_applied_let_in_and_out_what_they_must(tmp_path: Path) -> None:
    shutil.copytree(KUBERNETES, tmp_path / "kubernetes")
    secrets = (KUBERNETES / "secrets.env.example").read_text().replace("TOKEN=", "TOKEN=of-mine")
    (tmp_path / "kubernetes" / "secrets.env").write_text(secrets)
    command = [BIN / "kubectl", "kustomize", tmp_path / "kubernetes"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    applied = {each["kind"]: each for each in yaml.safe_load_all(done.stdout)}

    for manifest in applied.values():
        kubernetes_validate.validate(manifest, "1.30", strict=True)
    assert applied.keys() == {each["kind"] for each in RESOURCES} | {"ConfigMap", "Secret"}
    policy, written = applied["NetworkPolicy"]["spec"], resource("NetworkPolicy")["spec"]
    assert (policy["ingress"], policy["egress"]) == (written["ingress"], written["egress"])
    pod = applied["Deployment"]["spec"]["template"]
    assert applied["Service"]["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    (container,) = pod["spec"]["containers"]
    assert container["envFrom"][0]["configMapRef"]["name"] == applied["ConfigMap"]["metadata"]["name"]
    assert {each["valueFrom"]["secretKeyRef"]["name"] for each in container["env"]} == {
        applied["Secret"]["metadata"]["name"]
    }
    assert container["image"] == f"{KUSTOMIZATION['images'][0]['newName']}:{KUSTOMIZATION['images'][0]['newTag']}"
