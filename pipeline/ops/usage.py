"""What a process has used, as Linux tells it."""

from pathlib import Path


def resident(pid: int) -> int:
    """Resident memory in megabytes; 0 where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/statm").read_text().split()
    except OSError:
        return 0
    return int(fields[1]) * 4096 // 1_000_000


def cpu_seconds(pid: int) -> float:
    """User and system time so far; 0 where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / 100
