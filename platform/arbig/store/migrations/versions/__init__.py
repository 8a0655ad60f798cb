"""Store: one file per revision of the trading database's schema."""
