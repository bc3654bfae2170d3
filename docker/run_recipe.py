"""What `ray submit docker/cluster.yaml docker/run_recipe.py RECIPE OUT` runs on the head: one recipe on the
whole cluster."""

import sys

from gristmill.pipeline.cli import main

if __name__ == "__main__":
    recipe, out = sys.argv[1:3]
    main(["run", recipe, "--out", out, "--engine", "ray", "--address", "auto", *sys.argv[3:]])
