"""Claim: nothing is lost, nothing is silently wrong, nothing is written where it should not be.

    python benchmarks/faults.py [--rows kills damage] [--trials 20] [--processes 2] [--out runs/faults]
    python benchmarks/faults.py --table
    python benchmarks/faults.py --rows kills --only 17

Rows of trials, each drawn from its row's name and its number: commands that are killed and begun again; signals, broken
streams, full disks and neighbours in one folder; damaged files of runs; bad input over every command and call; data
sets, runs and archives that mean harm; load; the same seed on other machines. A trial is judged against what happens
undisturbed, or by what no command may do: a traceback, several lines, a hang, a wrong result without a word, a file of
somebody else's touched.

Every trial runs in a process that is forked from one which has imported everything. Results go to a file in `--out`
named after the code under trial, a line each, so that an interrupted campaign goes on; `--table` prints those that are
there. The exit code is 1 where a trial did not hold.
"""

import argparse
import os
import sys
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "MPLBACKEND": "Agg"}

REPOSITORY = Path(__file__).resolve().parents[1]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", help="only these")
    parser.add_argument("--trials", type=int, help="at most so many of each row")
    parser.add_argument("--only", type=int, nargs="+", help="trials with these numbers, again and in full")
    parser.add_argument("--sample", action="store_true", help="those that the normal tests try")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--out", type=Path, default=REPOSITORY / "runs" / "faults")
    parser.add_argument("--table", action="store_true", help="try nothing; print what was found")
    return parser.parse_args()


def main() -> int:
    from fault_trials.campaign import carry_out
    from fault_trials.results import read, table, version
    from fault_trials.rows import ROWS

    args = parse()
    rows = [row for row in ROWS if args.rows is None or row.name in args.rows]
    product, trials = REPOSITORY / "src" / "minorkey", REPOSITORY / "benchmarks" / "fault_trials"
    file = args.out / f"{version(product, trials)}.jsonl"
    if not args.table:
        todo = [(row, index) for row in rows for index in numbers(row, args)]
        known = set() if args.only else {(result["row"], result["index"]) for result in read(file)}
        material = args.out / f"material-{version(product, trials / 'material.py')}"
        left = [(row, index) for row, index in todo if (row.name, index) not in known]
        carry_out(left, file, material, args.processes)
    done = read(file)
    print(table(done, rows))
    return int(any(result["why"] for result in done if result["row"] in {row.name for row in rows}))


def numbers(row, args: argparse.Namespace) -> list[int]:
    if args.only:
        return args.only
    if args.sample:
        return list(row.sample)
    return list(range(min(row.trials, args.trials or row.trials)))


if __name__ == "__main__":
    sys.exit(main())
