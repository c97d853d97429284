"""What forecasts would have earned: rules on predictions, fills at the next bar's open, costs, and how much of it is luck."""
