"""The stages of dvc.yaml, one thin `main(argv)` each."""
