"""Compares Autobahn reports, each of a part of the cases, with the expected outcome of every case.

    judge.py EXPECTED REPORT…            exit 1 and a line for each difference
    judge.py EXPECTED REPORT… --write    makes the reports the expectation
"""

import json
import re
import sys


def outcomes(report_path):
    with open(report_path) as report_file:
        (cases,) = json.load(report_file).values()
    return {case: result["behavior"] + "/" + result["behaviorClose"] for case, result in cases.items()}


def order(case):
    return [int(part) for part in re.split(r"\.", case)]


def main():
    expected_path, *report_paths = [argument for argument in sys.argv[1:] if argument != "--write"]
    actual = {}
    for report_path in report_paths:
        actual.update(outcomes(report_path))
    if "--write" in sys.argv:
        with open(expected_path, "w") as expected_file:
            ordered = {case: actual[case] for case in sorted(actual, key=order)}
            json.dump(ordered, expected_file, indent=0)
            expected_file.write("\n")
    with open(expected_path) as expected_file:
        expected = json.load(expected_file)
    differences = 0
    for case in sorted(set(expected) | set(actual), key=order):
        if expected.get(case) != actual.get(case):
            differences += 1
            print(f"case {case}: expected {expected.get(case)}, got {actual.get(case)}")
    counts = {}
    for outcome in actual.values():
        counts[outcome] = counts.get(outcome, 0) + 1
    print(f"{len(actual)} cases: " + ", ".join(f"{count} {name}" for name, count in sorted(counts.items())))
    failed = [case for case, outcome in actual.items() if "FAILED" in outcome or "UNCLEAN" in outcome]
    if failed:
        print("failed: " + ", ".join(sorted(failed, key=order)))
    sys.exit(1 if differences or failed else 0)


main()
