"""PPO on CartPole with an environment in each of four processes: stable-baselines3's own example."""

from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import SubprocVecEnv

if __name__ == "__main__":
    environments = make_vec_env("CartPole-v1", n_envs=4, seed=0, vec_env_cls=SubprocVecEnv)
    model = PPO("MlpPolicy", environments, n_steps=256, seed=0, device="cpu")
    model.learn(20_480)
    mean, deviation = evaluate_policy(model, environments, n_eval_episodes=8)
    environments.close()
    print("mean reward", float(mean))
