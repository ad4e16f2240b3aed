"""Draw a volume: `python src/visualize.py --volume_path generated/sample_001.nii.gz`."""

import sys

from braindiffusion.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "visualize")
    main()
