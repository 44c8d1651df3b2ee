"""CT scorers: arrays in, scores and maps out. Independent of drrval."""
