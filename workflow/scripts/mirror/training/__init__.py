"""Pre-training and encoding: bags, paired data, the loop, its state, several GPUs."""
