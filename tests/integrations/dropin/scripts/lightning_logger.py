"""Lightning's WandbLogger: a small network learns handwritten digits."""

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import WandbLogger
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Digits(lightning.LightningModule):
    def __init__(self, width: int = 32, lr: float = 1e-2):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))

    def step(self, batch, stage):
        images, labels = batch
        scores = self.net(images)
        loss = nn.functional.cross_entropy(scores, labels)
        self.log(f"{stage}/loss", loss)
        self.log(f"{stage}/accuracy", (scores.argmax(-1) == labels).float().mean())
        return loss

    def training_step(self, batch, index):
        return self.step(batch, "train")

    def validation_step(self, batch, index):
        self.step(batch, "val")

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.hparams.lr)


lightning.seed_everything(7)
digits = load_digits()
data = TensorDataset(torch.tensor(digits.images / 16, dtype=torch.float32), torch.tensor(digits.target))
train, val = torch.utils.data.random_split(data, [1400, len(data) - 1400])
logger = WandbLogger(project="digits", name="mlp", log_model="all", tags=["lightning"])
model = Digits()
logger.watch(model, log="all", log_freq=20)
trainer = lightning.Trainer(
    max_epochs=2,
    logger=logger,
    log_every_n_steps=5,
    accelerator="cpu",
    enable_progress_bar=False,
    enable_model_summary=False,
    callbacks=[ModelCheckpoint(dirpath="checkpoints", monitor="val/accuracy", mode="max")],
)
trainer.fit(model, DataLoader(train, 64, shuffle=True), DataLoader(val, 256))
logger.log_image("samples", images=[digits.images[n] / 16 for n in range(3)], caption=["zero", "one", "two"])
logger.log_table("sizes", columns=["part", "rows"], data=[["train", len(train)], ["val", len(val)]])
