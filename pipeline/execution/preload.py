"""The imports of workers. On CPUs, workers are forks of a process that has imported this once.

Importing this must not run any TensorFlow operation, since the threads that it starts would not
survive a fork.
"""

import os
import signal

from pipeline.execution import ending, processes

ending.die_with_parent()  # else it would import for seconds what nobody needs any more
signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
# Keras imports pandas, which imports Arrow, whose allocator would start a thread.
os.environ.setdefault("JE_ARROW_MALLOC_CONF", "background_thread:false")
processes.log_libraries()
with processes.importing():
    import pipeline.engine
    import pipeline.execution.program_cache
    import pipeline.training.trainer  # noqa: F401
