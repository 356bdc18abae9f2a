"""The chaos suite: the whole system under kills and faults, judged from outside. `python -m tests.chaos --help`."""
