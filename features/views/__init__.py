"""What this feature store serves: one module per feature view, and `flights`, which several of them share."""
