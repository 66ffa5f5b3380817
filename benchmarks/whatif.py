"""What-ifs beside restoring and replaying without the step, in one run.

A bank made by SQL from a seed: accounts in branches, entries, tellers; a history of small steps,
some that post interest over a branch, some that sum up. Three settings: one guilty step left out,
1 % of the steps left out, 10 % left out. The naive way clones the backup and runs the remaining
statements on one plain connection, without capture, clock or marks: as `psql` would.

    python -m benchmarks.whatif --rows 100000 --steps 10000 --seed 71
"""

from tests.whatif_speed import main

if __name__ == "__main__":
    main()
