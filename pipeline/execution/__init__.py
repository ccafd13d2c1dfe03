"""Where runs are trained: scheduler, worker processes, journal, devices, compiled programs."""
