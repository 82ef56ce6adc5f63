"""Floor 1: who we can talk to. Chat channels, API channels, their secrets, and the providers behind them."""
