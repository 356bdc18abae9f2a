"""Around every request: connections, TLS, limits, headers, the log."""
