"""What all tests share."""

from hypothesis import settings

# How long an example takes says more of who else works on the machine than of the code.
settings.register_profile("pipeline", deadline=None)
settings.load_profile("pipeline")
