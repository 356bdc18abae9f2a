"""docker-compose.yml, read as Compose reads it."""

import re
from pathlib import Path
from typing import Any

import yaml

from pipeline import worker

ROOT = Path(__file__).parents[2]
STAGE_SERVICES = set(worker.NAMES)
APP_SERVICES = STAGE_SERVICES | {"gateway", "simulator"}

Service = dict[str, Any]


def interpolated(text: str, environment: dict[str, str] | None = None) -> str:
    """Put `${NAME:-default}` in place as Compose does."""
    given = environment or {}
    return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: given.get(found[1]) or found[2], text)


COMPOSE = yaml.safe_load(interpolated((ROOT / "docker-compose.yml").read_text()))
SERVICES: dict[str, Service] = COMPOSE["services"]
