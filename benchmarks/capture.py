"""What capture costs: a history replayed plainly (statements on one connection, as `psql` would
run them) and captured by decoding, in turns.

Three histories over a bank made by SQL from a seed: small steps, small steps most of which meet
the same few accounts, and twenty updates that each write half of all accounts.

    python -m benchmarks.capture --rows 100000 --steps 4000
"""

from tests.capture_speed import main

if __name__ == "__main__":
    main()
