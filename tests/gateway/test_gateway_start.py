"""What a gateway's process takes with it."""

import subprocess
import sys


def test_the_stages_functions_bring_no_streaming_framework() -> None:
    """Faust and RocksDB would cost it two seconds at its start, and the garbage collector more to go through."""
    code = "import sys, pipeline.gateway.app; print({'faust', 'mode', 'rocksdict'} & set(sys.modules) or 'none')"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "none"
