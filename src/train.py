"""Train a model: `python src/train.py --data_dir IXI-T1 --batch_size 2 --epochs 100`."""

import sys

from braindiffusion.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "train")
    main()
