"""branches.py REPORT PERCENT: fail if coverage's JSON report has fewer branches covered."""

import json
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    totals = json.load(file)["totals"]
covered = 100 * totals["covered_branches"] / totals["num_branches"]
print(f"{covered:.1f} % of the branches are covered; {sys.argv[2]} % are wanted")
sys.exit(covered < float(sys.argv[2]))
