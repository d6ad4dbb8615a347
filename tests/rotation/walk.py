"""Walk a log's archives and the log itself, oldest first, and print what was found: walk.py LOG."""

import gzip
import hashlib
import json
import re
import sys
from pathlib import Path

log = Path(sys.argv[1])
archives = [(int(match[1]), path) for path in log.parent.iterdir() if (match := re.fullmatch(rf"{log.name}\.(\d+)(\.gz)?", path.name))]
found = {"lines": 0, "lost": 0, "doubled": 0, "torn": 0, "unchained": 0, "segments": len(archives), "last": -1}
previous = "0" * 64
for path in [path for _number, path in sorted(archives, reverse=True)] + [log]:
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    found["torn"] += not content.endswith(b"\n")
    for line in content.splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            found["torn"] += 1
            continue
        found["lost"] += max(0, record["number"] - found["last"] - 1)
        found["doubled"] += record["number"] <= found["last"]
        found["unchained"] += record["previous"] != previous
        found["lines"] += 1
        found["last"] = record["number"]
        previous = hashlib.sha256(line).hexdigest()
print(json.dumps(found))
