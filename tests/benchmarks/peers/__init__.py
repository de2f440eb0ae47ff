"""Programs of other engines, for a comparison on the same machine; each runs in an environment of its own."""
