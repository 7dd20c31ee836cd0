"""What transfer follows: regression, contrasts, few-shot laws."""
