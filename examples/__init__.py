"""A made-up table, and published tables as studies; see README.md."""
