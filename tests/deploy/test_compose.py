"""docker-compose.yml says only what is true of the code: commands, configuration, ports, files."""

import base64
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from composed import APP_SERVICES, COMPOSE, ROOT, SERVICES, STAGE_SERVICES, interpolated

from pipeline import cli, config
from pipeline.ops import kafka_jars

#: Tags that are known to exist; an image not listed here has not been looked up.
KNOWN_IMAGES = {"apache/kafka:4.1.2", "prom/prometheus:v3.13.1"}
KNOWN_BASES = {"python:3.12.12-slim-bookworm"}
OWN_IMAGE = "sms-pipeline:0.1.0"


def test_it_follows_the_compose_specification() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    checked = subprocess.run([*command, str(ROOT / "docker-compose.yml")], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "version" not in COMPOSE  # obsolete


def test_every_process_of_the_system_is_a_service() -> None:
    assert set(SERVICES) == APP_SERVICES | {"kafka", "prometheus"}


def test_images_are_pinned_and_known() -> None:
    images = {service["image"] for service in SERVICES.values()}
    assert images == KNOWN_IMAGES | {OWN_IMAGE}
    assert {name for name, service in SERVICES.items() if "build" in service} == APP_SERVICES
    bases = re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert set(bases) == KNOWN_BASES


def test_the_broker_is_the_embedded_one_in_a_container() -> None:
    version = next(root for root in kafka_jars.ROOTS if ":kafka_" in root).rpartition(":")[2]
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{version}"


@pytest.mark.parametrize("name", sorted(APP_SERVICES))
def test_a_command_is_one_the_program_takes(name: str) -> None:
    arguments = SERVICES[name]["command"]
    group = typer.main.get_command(cli.app)
    command = group.get_command(typer.Context(group), arguments[0])  # type: ignore[attr-defined]
    context = command.make_context(arguments[0], arguments[1:])
    if name in STAGE_SERVICES:
        assert context.params["stages"] == [name]
        assert context.params["instance"] is None  # replicas must not share a name


@pytest.mark.parametrize("name", sorted(APP_SERVICES - {"simulator"}))
def test_configuration_is_read_as_meant(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in (key for key in list(os.environ) if key.startswith("SMS_")):
        monkeypatch.delenv(key)
    environment = SERVICES[name]["environment"]
    settings = config.load(ROOT / "deploy/compose.toml", environment)
    for key, value in environment.items():
        found: Any = settings
        for part in key.removeprefix("SMS_").lower().split("__"):
            found = found[part] if isinstance(found, dict) else getattr(found, part)
        revealed = found.get_secret_value() if hasattr(found, "get_secret_value") else found
        assert str(revealed) == value, key
    assert settings.kafka.bootstrap_servers == "kafka:9092"
    assert set(settings.http_carriers) == {"sim"}
    assert not settings.moderation.terms  # a relative path would not be in the container
    assert settings.storage.directory == Path("/var/lib/sms-pipeline")


def test_the_simulator_and_the_gateway_share_secrets() -> None:
    simulator, gateway = SERVICES["simulator"]["environment"], SERVICES["gateway"]["environment"]
    assert simulator["SMS_SIMULATOR_TOKEN"] == gateway["SMS_CARRIERS__SIM__TOKEN"]
    assert simulator["SMS_SIMULATOR_SECRET"] == gateway["SMS_CARRIERS__SIM__SECRET"]
    prefix, _, key = simulator["SMS_SIMULATOR_SECRET"].partition("_")
    assert prefix == "whsec"
    assert 24 <= len(base64.b64decode(key, validate=True)) <= 64  # Standard Webhooks 1.0.0
    options = {parameter.envvar for parameter in _simulator_options()}
    assert set(simulator) <= options


def test_example_secrets_say_so_and_can_be_replaced() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    assert b"EXAMPLE ONLY" in base64.b64decode(SERVICES["simulator"]["environment"]["SMS_SIMULATOR_SECRET"][6:])
    replaced = yaml.safe_load(interpolated(text, {"SIMULATOR_TOKEN": "t", "SIMULATOR_SECRET": "whsec_s"}))
    environment = replaced["services"]["gateway"]["environment"]
    assert environment["SMS_CARRIERS__SIM__TOKEN"] == "t"
    assert environment["SMS_CARRIERS__SIM__SECRET"] == "whsec_s"


def test_addresses_between_services_are_right() -> None:
    settings = config.load(ROOT / "deploy/compose.toml", SERVICES["gateway"]["environment"])
    simulator = SERVICES["simulator"]["command"]
    assert settings.http_carriers["sim"].url == "http://simulator:9090/messages"
    assert "--port=9090" in simulator
    assert f"--receipts-url=http://gateway:{settings.gateway.port}/carriers/sim/receipts" in simulator
    assert SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"] == "BROKER://kafka:9092"


def test_ports_are_published_on_loopback_only() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"gateway": ["127.0.0.1:8080:8080"], "prometheus": ["127.0.0.1:9090:9090"]}


def test_every_service_restarts_and_tells_its_health() -> None:
    for name, service in SERVICES.items():
        assert service["restart"] == "unless-stopped", name
        assert service["healthcheck"]["test"][0] == "CMD", name
    ports = {"gateway": 8080, "simulator": 9090}
    for name in APP_SERVICES:
        assert f":{ports.get(name, 9100)}/health/ready" in SERVICES[name]["healthcheck"]["test"][-1], name


def test_a_replica_has_tables_of_its_own() -> None:
    for name in APP_SERVICES:
        at = _mounts(name)["/var/lib/sms-pipeline"]
        shared = at.get("source")
        assert shared == ("read-model" if name in {"store", "gateway"} else None), name
        if shared:
            assert SERVICES[name].get("deploy", {}).get("replicas", 1) == 1, name


def test_mounted_files_exist_and_volumes_are_declared() -> None:
    for name in SERVICES:
        for mount in _mounts(name).values():
            source = mount.get("source")
            if source and source.startswith("."):
                assert (ROOT / source).is_file(), source
            elif source:
                assert source in COMPOSE["volumes"], source


def test_the_image_is_built_from_files_that_exist() -> None:
    text = (ROOT / "Dockerfile").read_text()
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [part for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE) for part in line.split()[:-1]]
    assert set(copied) == allowed
    assert all((ROOT / part).exists() for part in copied)
    assert re.search(r"^USER 10001:10001$", text, re.MULTILINE)


def _mounts(name: str) -> dict[str, dict[str, Any]]:
    """A service's mounts by target; the short form is `source:target[:ro]`."""
    found = {}
    for volume in SERVICES[name].get("volumes", []):
        if isinstance(volume, str):
            source, target = volume.split(":")[:2]
            volume = {"source": source, "target": target}
        found[volume["target"]] = volume
    return found


def _simulator_options() -> list[Any]:
    group = typer.main.get_command(cli.app)
    return group.commands["simulator"].params  # type: ignore[attr-defined,no-any-return]
