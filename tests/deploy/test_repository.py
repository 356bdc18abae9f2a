"""What holds of every file: locks name no place, texts name no machine, modules stay short, metrics are documented."""

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from pipeline.ops import metrics_page

ROOT = Path(__file__).parents[2]
LOCKS = ["requirements.lock", "requirements-runtime.lock", "requirements-embedded.lock"]
#: Lines a module may have.
LONGEST = 400


def tracked() -> list[Path]:
    """Every file of the repository that is not ignored."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def locked(name: str) -> dict[str, str]:
    """Each requirement of a lock with its hashes: {"rich==15.0.0": "--hash=… --hash=…"}."""
    lines = (ROOT / name).read_text().replace("\\\n", "").splitlines()
    return {line.split()[0]: line[line.index("--hash") :] for line in lines}


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_holds_names_versions_markers_and_hashes_only(name: str) -> None:
    requirement = re.compile(r"[a-z0-9._-]+==[\w.+!]+( ; [\w\s.'<>=!()]+)?(\s+--hash=sha256:[0-9a-f]{64})+\s*")
    for line in (ROOT / name).read_text().replace("\\\n", "").splitlines():
        assert requirement.fullmatch(line), line[:80]


def test_the_image_gets_the_versions_that_were_tested() -> None:
    assert locked("requirements-runtime.lock").items() <= locked("requirements.lock").items()


def test_what_the_project_asks_for_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"]
    everything = {name.partition("==")[0] for name in locked("requirements.lock")}
    runtime = {name.partition("==")[0] for name in locked("requirements-runtime.lock")}
    assert _names(project["dependencies"] + optional["build"]) <= runtime
    assert _names(optional["dev"]) <= everything
    assert _names(optional["embedded"]) == {name.partition("==")[0] for name in locked("requirements-embedded.lock")}


def test_no_file_names_a_machine_or_a_registry() -> None:
    # put together here, so that this file does not name them either
    places = [f"/{name}/" for name in ("root", "work", "tmp")]
    hosts = ["pypi" + ".org", "python" + "hosted.org", "npm" + "js.org", "repo1.maven" + ".org", "crates" + ".io"]
    forbidden = re.compile("|".join([rf"(?<![\w.$}}-]){place}" for place in places] + [re.escape(h) for h in hosts]))
    found = []
    for path in tracked():
        data = path.read_bytes()
        if b"\0" not in data:
            text = data.decode("utf-8")
            found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in forbidden.finditer(text)]
    assert not found


def test_modules_are_short() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in tracked() if _module(path)}
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


def test_metrics_page_is_up_to_date() -> None:
    assert (ROOT / "docs/metrics.md").read_text() == metrics_page.page(), "run `make docs`"


def test_every_metric_is_documented() -> None:
    page = (ROOT / "docs/metrics.md").read_text()
    missing = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in (ROOT / "pipeline").rglob("*.py")
        for name in _defined(ast.parse(path.read_text()))
        if f"`{name}`" not in page
    ]
    assert not missing, "metrics stand in modules named metrics.py; then `make docs`"


def test_make_targets_that_are_spoken_of_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    texts = [path for path in tracked() if path.suffix == ".md" or path.name == "run"]
    spoken = {name for path in texts for name in re.findall(r"`make ([a-z]+)|^make ([a-z]+)", path.read_text(), re.M)}
    assert {a or b for a, b in spoken} <= targets
    loop = re.search(r"for target in ([a-z ]+);", (ROOT / ".ci/run").read_text())
    assert loop is not None
    assert set(loop[1].split()) <= targets


def _names(requirements: list[str]) -> set[str]:
    """Normalised names (PEP 503) of requirement strings."""
    found = (re.match(r"[\w.-]+", requirement) for requirement in requirements)
    return {re.sub(r"[-_.]+", "-", match[0]).lower() for match in found if match}


def _module(path: Path) -> bool:
    return path.suffix == ".py" and path.relative_to(ROOT).parts[0] in {"pipeline", "schemas"}


def _defined(tree: ast.Module) -> list[str]:
    """Names of the metrics that a module makes with the Prometheus client."""
    kinds = {"Counter", "Gauge", "Histogram", "Summary", "Info", "Enum"}
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    return [
        str(call.args[0].value)
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id in kinds and call.args
        if isinstance(call.args[0], ast.Constant) and str(call.args[0].value).startswith("sms_")
    ]
