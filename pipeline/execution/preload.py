"""What workers import. On cores they are forks of a process that has it, so it is imported once.

Importing this must run no operation of TensorFlow: threads that it starts survive no fork.
"""

import os
import signal

from pipeline.execution import processes

signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's
# Keras imports pandas, which imports Arrow, whose allocator would start a thread.
os.environ.setdefault("JE_ARROW_MALLOC_CONF", "background_thread:false")
processes.log_libraries()
with processes.importing():
    import pipeline.engine
    import pipeline.execution.worker
    import pipeline.training.trainer  # noqa: F401
