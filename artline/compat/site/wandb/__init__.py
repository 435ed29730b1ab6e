"""What ``import wandb`` finds first where Artline stands in for it (``python -m artline.compat.wandb``).

This folder's parent is on ``PYTHONPATH`` there, so that child processes come here, too.
"""

from artline.compat.wandb.alias import install

install()
