import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from wholesystem import REQUEST_BYTES, System, Systems


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the plain system behind one another: each change of the system takes ten seconds or more."""
    places = [place for place, item in enumerate(items) if item.path.parent == Path(__file__).parent]
    ordered = sorted(
        (items[place] for place in places), key=lambda item: "plain" not in getattr(item, "fixturenames", ())
    )
    for place, item in zip(places, ordered, strict=True):
        items[place] = item


@pytest.fixture(scope="session")
def systems() -> Iterator[Systems]:
    systems = Systems()
    try:
        yield systems
    finally:
        systems.stop()


@pytest.fixture(scope="session")
def terms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    terms: Path = tmp_path_factory.mktemp("terms") / "prohibited.txt"
    terms.write_text("forbidden fruit\n")
    return terms


@pytest.fixture(scope="module")
def plain(systems: Systems, terms: Path) -> System:
    """Its carrier takes and delivers everything. Routes lead to Italy and Germany."""
    overrides = {
        "SMS_LIMITS__REQUEST_BYTES": str(REQUEST_BYTES),
        "SMS_CALLBACKS__ALLOW": '["127.0.0.0/8"]',
        "SMS_MODERATION__TERMS": json.dumps([str(terms)]),
        "SMS_ROUTES": json.dumps([{"prefix": prefix, "carriers": ["sim"]} for prefix in ("39", "49")]),
    }
    return systems.get("plain", ["--receipt-delay", "0", "0.05"], overrides)


@pytest.fixture(scope="module")
def alone(systems: Systems) -> None:
    """No system runs but what the test starts itself."""
    systems.stop()
