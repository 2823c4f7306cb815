"""No byte is wrong, lost or repeated whoever cuts whom off, and nothing is left behind: the short run of perf/bytes/run, which says what each promise means.

It is played with every word of the key zero-copy, where the binary has that. WEIR_SEED repeats a run; WEIR_SOAK=1 makes it the long one, 10 GB and 100,000 tunnels, with the default.
"""
import json
import os
import subprocess
import sys
import unittest

from stage import ROOT, WEIR

SOAK = os.environ.get("WEIR_SOAK") == "1"
BYTES, TUNNELS, SECONDS = ("10G", 100000, 1800) if SOAK else ("600M", 2000, 90)
SLOTS = 48 if SOAK else 16  # exchanges at once
FEATURES = ("zero-copy", "tcp", "forward")  # of perf/bytes/run's: what the binary must be able to play
MODES = () if SOAK else ("ring", "poll", "off")  # besides the default


class Bytes(unittest.TestCase):
    def play(self, mode):
        """The counts of one run; every promise must be kept."""
        more = [f"--zero-copy={mode}"] if mode else []
        more += [f"--seed={os.environ['WEIR_SEED']}"] if os.environ.get("WEIR_SEED") else []
        done = subprocess.run([sys.executable, os.path.join(ROOT, "perf", "bytes", "run"), "--json", "--weir", WEIR, "--bytes", BYTES, "--tunnels", str(TUNNELS),
                               "--seconds", str(SECONDS), "--slots", str(SLOTS), *more],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=SECONDS + 240)
        self.assertTrue(done.stdout, done.stderr[-4000:])
        counts = json.loads(done.stdout)
        print(f"bytes: WEIR_SEED={counts['seed']}, {(counts['bytes_up'] + counts['bytes_down']) >> 20} MiB, {counts['tunnels']} tunnels, zero-copy {mode or 'as it comes'}")
        self.assertEqual(counts["broken"], [], ({key: value for key, value in counts.items() if key != "looks"}, done.stderr[-4000:]))
        self.assertEqual([feature for feature in FEATURES if feature not in counts["features"]], [], "not played")
        self.assertEqual(counts["spliced"] > 0, mode != "off")
        return counts["features"]

    def test_no_byte_is_wrong_lost_or_repeated_and_nothing_is_left_behind(self):
        for mode in MODES if "zero-copy" in self.play(None) else ():
            with self.subTest(zero_copy=mode):
                self.play(mode)


if __name__ == "__main__":
    unittest.main()
