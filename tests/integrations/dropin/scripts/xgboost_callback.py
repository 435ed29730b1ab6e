"""XGBoost with wandb's callback."""

import wandb
import xgboost
from sklearn.datasets import load_breast_cancer
from wandb.integration.xgboost import WandbCallback

data = load_breast_cancer()
names = [name.replace(" ", "_") for name in data.feature_names]
train = xgboost.DMatrix(data.data[:400], data.target[:400], feature_names=names)
test = xgboost.DMatrix(data.data[400:], data.target[400:], feature_names=names)
with wandb.init(project="cells", name="xgboost"):
    xgboost.train(
        {"objective": "binary:logistic", "eval_metric": ["logloss", "auc"], "max_depth": 3},
        train,
        num_boost_round=12,
        evals=[(train, "train"), (test, "test")],
        early_stopping_rounds=5,
        verbose_eval=False,
        callbacks=[WandbCallback(log_model=True)],
    )
