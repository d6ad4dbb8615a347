"""Write numbered, chained lines to a log that is opened once: writer.py LOG LINES_A_SECOND [watched].

0 lines a second: as fast as it goes. watched: through Python's WatchedFileHandler, and to the disk, as the server does.
"""

import errno
import hashlib
import json
import logging
import logging.handlers
import os
import signal
import sys
import time

log, rate = sys.argv[1], int(sys.argv[2])
stopped = False


def stop(_number: int, _frame: object) -> None:
    global stopped
    stopped = True


signal.signal(signal.SIGTERM, stop)
with open(log, "rb") as file:
    lines = file.read().splitlines()
number = json.loads(lines[-1])["number"] + 1 if lines else 0
previous = hashlib.sha256(lines[-1]).hexdigest() if lines else "0" * 64

if sys.argv[3:] == ["watched"]:
    handler = logging.handlers.WatchedFileHandler(log)

    def write(line: bytes) -> None:
        handler.emit(logging.makeLogRecord({"msg": line.decode()}))
        assert handler.stream is not None
        os.fsync(handler.stream.fileno())
else:
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)

    def write(line: bytes) -> None:
        rest = line + b"\n"
        while rest:  # on a full disk a line may be written in part, and is finished later
            try:
                rest = rest[os.write(descriptor, rest) :]
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                time.sleep(0.05)


while not stopped:
    line = json.dumps({"number": number, "previous": previous, "text": "x" * (number % 97)}).encode()
    write(line)
    number, previous = number + 1, hashlib.sha256(line).hexdigest()
    if rate:
        time.sleep(1 / rate)
print(f"wrote up to {number - 1}", flush=True)
