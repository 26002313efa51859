"""vision-toolkit: one trainer for classic vision tasks; every task is a plugin."""
