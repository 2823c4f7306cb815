"""A cache under load keeps its word while it is purged, reloaded and its origin fails: the short run of perf/soak/run, which says what each promise means.

WEIR_SOAK=1 makes it the long one, ten minutes.
"""
import json
import os
import subprocess
import sys
import unittest

from stage import ROOT, WEIR

SECONDS = 600 if os.environ.get("WEIR_SOAK") == "1" else 14


class Soak(unittest.TestCase):
    def test_a_cache_under_load_purges_reloads_and_failures_keeps_its_word(self):
        seed = [f"--seed={os.environ['WEIR_SEED']}"] if os.environ.get("WEIR_SEED") else []
        done = subprocess.run([sys.executable, os.path.join(ROOT, "perf", "soak", "run"), "--seconds", str(SECONDS), "--weir", WEIR, "--json", *seed],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=SECONDS + 240)
        self.assertTrue(done.stdout, done.stderr[-4000:])
        counts = json.loads(done.stdout)
        print(f"soak: WEIR_SEED={counts['seed']}, {counts['requests']} requests, {counts['purges']} purges")
        self.assertEqual(counts["broken"], [], (counts, done.stderr[-4000:]))


if __name__ == "__main__":
    unittest.main()
