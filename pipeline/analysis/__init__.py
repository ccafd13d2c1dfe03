"""Statistics of final runs: intervals, comparisons, claims and their verdicts, advice."""
