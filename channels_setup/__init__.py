"""Who the portal talks to: chat channels, API channels, their secrets, and the providers behind them."""
