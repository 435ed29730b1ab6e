"""The callbacks that come with wandb for libraries without one of their own: same names, same metrics."""
