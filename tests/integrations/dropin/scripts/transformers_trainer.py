"""transformers' Trainer with report_to="wandb": a small vision transformer learns handwritten digits."""

import os

import torch
from sklearn.datasets import load_digits
from transformers import Trainer, TrainingArguments, ViTConfig, ViTForImageClassification

os.environ["WANDB_PROJECT"] = "digits"
os.environ["WANDB_LOG_MODEL"] = "checkpoint"
os.environ["WANDB_WATCH"] = "all"


class Digits(torch.utils.data.Dataset):
    def __init__(self, images, labels):
        self.images = torch.tensor(images / 16, dtype=torch.float32).unsqueeze(1)
        self.labels = torch.tensor(labels)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return {"pixel_values": self.images[index], "labels": self.labels[index]}


digits = load_digits()
model = ViTForImageClassification(
    ViTConfig(
        image_size=8,
        patch_size=4,
        num_channels=1,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        num_labels=10,
    )
)
trainer = Trainer(
    model=model,
    args=TrainingArguments(
        output_dir="out",
        run_name="vit",
        report_to="wandb",
        num_train_epochs=2,
        per_device_train_batch_size=16,
        per_device_eval_batch_size=256,
        learning_rate=3e-3,
        logging_steps=10,
        eval_strategy="epoch",
        save_strategy="epoch",
        use_cpu=True,
        disable_tqdm=True,
        seed=7,
    ),
    train_dataset=Digits(digits.images[:1200], digits.target[:1200]),
    eval_dataset=Digits(digits.images[1200:], digits.target[1200:]),
    compute_metrics=lambda found: {
        "accuracy": float((found.predictions.argmax(-1) == found.label_ids).mean())
    },
)
trainer.train()
