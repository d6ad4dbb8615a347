"""Write numbered, chained lines to a log that is opened once: writer.py LOG LINES_A_SECOND (0: as fast as it goes)."""

import hashlib
import json
import os
import signal
import sys
import time

log, rate = sys.argv[1], int(sys.argv[2])
stopped = False


def stop(_number, _frame):
    global stopped
    stopped = True


signal.signal(signal.SIGTERM, stop)
with open(log, "rb") as file:
    lines = file.read().splitlines()
number = json.loads(lines[-1])["number"] + 1 if lines else 0
previous = hashlib.sha256(lines[-1]).hexdigest() if lines else "0" * 64

descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)
while not stopped:
    line = json.dumps({"number": number, "previous": previous, "text": "x" * (number % 97)}).encode()
    assert os.write(descriptor, line + b"\n") == len(line) + 1
    number, previous = number + 1, hashlib.sha256(line).hexdigest()
    if rate:
        time.sleep(1 / rate)
print(f"wrote up to {number - 1}", flush=True)
