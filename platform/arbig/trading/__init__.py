"""Trading: the only writer of orders and positions."""
