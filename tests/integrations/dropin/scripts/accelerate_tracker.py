"""Accelerate's tracker: a plain training loop on handwritten digits."""

import torch
from accelerate import Accelerator
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

accelerator = Accelerator(log_with="wandb", cpu=True)
accelerator.init_trackers(
    "digits",
    config={"lr": 1e-2, "width": 32},
    init_kwargs={"wandb": {"name": "loop", "tags": ["accelerate"]}},
)
torch.manual_seed(7)
digits = load_digits()
data = TensorDataset(torch.tensor(digits.data / 16, dtype=torch.float32), torch.tensor(digits.target))
model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
model, optimizer, loader = accelerator.prepare(model, optimizer, DataLoader(data, 64, shuffle=True))
step = 0
for _ in range(2):
    for inputs, labels in loader:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs), labels)
        accelerator.backward(loss)
        optimizer.step()
        accelerator.log({"loss": loss.item()}, step=step)
        step += 1
tracker = accelerator.get_tracker("wandb")
tracker.log_images({"samples": [digits.images[0] / 16, digits.images[1] / 16]}, step=step)
tracker.log_table(
    "labels", columns=["index", "label"], data=[[n, int(digits.target[n])] for n in range(5)], step=step
)
accelerator.end_training()
