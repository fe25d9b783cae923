"""Every system call made to fail under everything the store does; ``python -m tests.faults``."""
