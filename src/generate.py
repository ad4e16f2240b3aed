"""Generate brains: `python src/generate.py --model_path checkpoints/best --num_samples 5`."""

import sys

from braindiffusion.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "generate")
    main()
