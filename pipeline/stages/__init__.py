"""The stages of dvc.yaml, one thin `main(argv)` each."""

WITH_WORKERS = ("tune", "train")  # which begin to import at once
