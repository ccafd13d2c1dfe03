"""The stages of dvc.yaml, one thin `main(argv)` each."""

WITH_WORKERS = ("tune", "train")  # these start them; `study` runs these
