"""CatBoost with wandb's callback."""

import wandb
from catboost import CatBoostClassifier
from sklearn.datasets import load_breast_cancer
from wandb.integration.catboost import WandbCallback, log_summary

data = load_breast_cancer()
wandb.init(project="cells", name="catboost")
model = CatBoostClassifier(
    iterations=12, depth=3, eval_metric="AUC", verbose=False, allow_writing_files=False
)
model.fit(
    data.data[:400],
    data.target[:400],
    eval_set=(data.data[400:], data.target[400:]),
    callbacks=[WandbCallback()],
)
log_summary(model, save_model_checkpoint=True)
wandb.finish()
