"""The training loops that are timed side by side, one file each; a file imports its framework when the loop is made, not before."""
