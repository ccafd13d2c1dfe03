"""params.yaml as frozen, checked sections, and overrides of its values on the command line."""
