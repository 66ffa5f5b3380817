#!/bin/sh
command -v python3 >/dev/null || { echo "dbmend needs python3 (3.11 or newer); install it first" >&2; exit 2; }
exec python3 -B "$(dirname "$0")/bootstrap.py" "$@"
