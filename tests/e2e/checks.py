"""One after the other, the check_* functions of a test file: all, or those whose names contain an argument."""
import sys
import time


def run_checks(title, functions, seed=None):
    """`functions`: the globals() of the file. Gives the exit status."""
    checks = [(name[len("check_"):], check) for name, check in sorted(functions.items()) if name.startswith("check_")]
    chosen = [entry for entry in checks if not sys.argv[1:] or any(part in entry[0] for part in sys.argv[1:])]
    failed = 0 if chosen else 1
    for name, check in chosen:
        print("%-22s" % name, end=" ", flush=True)
        begun = time.time()
        try:
            check()
            print("ok (%.1f s)" % (time.time() - begun), flush=True)
        except Exception as error:  # pylint: disable=broad-except
            failed += 1
            print("FAILED: %s: %s" % (type(error).__name__, error), flush=True)
    verdict = "%d of %d checks failed" % (failed, len(chosen)) if failed else "all %d checks passed" % len(chosen)
    print("%s: %s%s" % (title, verdict, "" if seed is None else " (seed %d)" % seed))
    return 1 if failed else 0
