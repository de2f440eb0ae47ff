"""The programs are for type checkers; pytest would import them to look for doctests."""

collect_ignore_glob = ["good/*", "bad/*", "reveal.py"]
