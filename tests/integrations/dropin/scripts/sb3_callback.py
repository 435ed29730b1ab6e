"""Stable-Baselines3 with wandb's callback; its metrics come through TensorBoard."""

import wandb
from stable_baselines3 import PPO
from wandb.integration.sb3 import WandbCallback

run = wandb.init(project="cartpole", name="ppo", config={"policy": "MlpPolicy"}, sync_tensorboard=True)
model = PPO(
    "MlpPolicy", "CartPole-v1", n_steps=64, n_epochs=2, seed=7, tensorboard_log=f"runs/{run.id}", device="cpu"
)
model.learn(
    256, callback=WandbCallback(gradient_save_freq=2, model_save_path=f"models/{run.id}", model_save_freq=100)
)
run.finish()
