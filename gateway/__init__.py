"""The cloud side: takes readings from a broker, keeps them and serves them."""
