"""Pages and figures made of result files."""
