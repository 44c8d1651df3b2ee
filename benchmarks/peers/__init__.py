"""One script per peer. Each runs in that peer's environment (``NAME.txt``) and prints one JSON line."""
