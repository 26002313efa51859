"""The foreign package is tested where it is installed: in the environment that test_foreign_package.py makes."""

collect_ignore = ["toolkit_saliency"]
