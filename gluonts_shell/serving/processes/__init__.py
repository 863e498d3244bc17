"""Processes of this machine: started, watched, ended. It knows signals and forks, and never what is computed.

machine      processors, native threads and memory; what forbids a fork
memory       the memory of this container: what it may have, what it has, what one process has of its own
supervisor   the server's parent: loads once, forks the workers, keeps them alive, ends them in good order
worker       the life of one of them, and why it leaves
link         what a worker and its parent say to each other: heartbeats up, connections down
standby      the parent answers health checks itself while no worker takes connections
signals      what a signal does: a record in a loop, an exception in a command
child        two of our own processes that talk over a socket pair
pool         workers without a server: tasks side by side, answers in order
"""
