"""params.yaml as frozen, checked sections, and what a command line replaces in it."""
