"""What a server tells of itself in numbers. It knows numbers and processes, and never what is asked.

counters     how many requests, how long they took, in memory that all workers share
memory       what processes take of the machine's
emf          the numbers of each minute as a line for CloudWatch
prometheus   the numbers as a page for Prometheus
"""
