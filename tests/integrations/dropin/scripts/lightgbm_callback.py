"""LightGBM with wandb's callback."""

import lightgbm
import wandb
from sklearn.datasets import load_breast_cancer
from wandb.integration.lightgbm import log_summary, wandb_callback

data = load_breast_cancer()
train = lightgbm.Dataset(data.data[:400], data.target[:400])
test = lightgbm.Dataset(data.data[400:], data.target[400:], reference=train)
parameters = {"objective": "binary", "metric": ["binary_logloss", "auc"], "num_leaves": 7, "verbose": -1}
wandb.init(project="cells", name="lightgbm")
model = lightgbm.train(
    parameters,
    train,
    num_boost_round=12,
    valid_sets=[test],
    valid_names=["test"],
    callbacks=[wandb_callback()],
)
log_summary(model, save_model_checkpoint=True)
lightgbm.cv(parameters, train, num_boost_round=3, nfold=3, callbacks=[wandb_callback(log_params=False)])
wandb.finish()
