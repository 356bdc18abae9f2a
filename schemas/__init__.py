"""The public contract: intake and status records, errors and states. Knows nothing of the pipeline."""
