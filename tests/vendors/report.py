"""What checks say."""

import sys


class Report:
    """Counts checks and goes on after a failed one."""

    def __init__(self):
        self.passed = 0
        self.failed = 0

    def check(self, what, ok, seen=None):
        if ok:
            self.passed += 1
            print(f"ok    {what}")
        else:
            self.failed += 1
            print(f"FAIL  {what}" + (f": {seen!r}" if seen is not None else ""))
        sys.stdout.flush()
        return ok
