"""wandb's callbacks for libraries that do not bring their own, by the same names, with the same metrics."""
