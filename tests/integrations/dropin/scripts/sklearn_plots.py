"""scikit-learn with wandb's plots."""

import wandb
import wandb.sklearn
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier

data = load_breast_cancer()
run = wandb.init(project="cells", name="forest")
model = RandomForestClassifier(n_estimators=10, random_state=7).fit(data.data[:400], data.target[:400])
run.config.update({"model": model.get_params()})
wandb.sklearn.plot_classifier(
    model,
    data.data[:400],
    data.data[400:],
    data.target[:400],
    data.target[400:],
    model.predict(data.data[400:]),
    model.predict_proba(data.data[400:]),
    list(data.target_names),
    model_name="forest",
    feature_names=list(data.feature_names),
)
wandb.log({"test/accuracy": model.score(data.data[400:], data.target[400:])})
run.finish()
