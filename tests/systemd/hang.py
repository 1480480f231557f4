"""hang.py PROCESS THREAD: stops the thread of that name in the process ("main" for the first), while its other threads go
on, until the process has ended. Prints a line when it stands still.
"""

import ctypes
import os
import sys

PTRACE_SEIZE = 0x4206
PTRACE_INTERRUPT = 0x4207
WALL = 0x40000000

process, name = sys.argv[1:]
tasks = f"/proc/{process}/task"
names = {task: open(f"{tasks}/{task}/comm").read().strip() for task in os.listdir(tasks)}
names[process] = "main"
threads = [task for task in names if names[task] == name]
if len(threads) != 1:
    sys.exit(f"{process} has {len(threads)} threads called {name}")
thread = int(threads[0])

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
for request in PTRACE_SEIZE, PTRACE_INTERRUPT:
    if libc.ptrace(request, thread, None, None) == -1:
        sys.exit(f"{name}: {os.strerror(ctypes.get_errno())}")
while True:
    # The end of a traced thread has to be taken note of, or the process does not end.
    status = os.waitpid(thread, WALL)[1]
    if not os.WIFSTOPPED(status):
        break
    print(f"{name} stands still", flush=True)
