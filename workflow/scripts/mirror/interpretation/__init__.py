"""What a pre-trained model looks at: attention, style prototypes, and what goes with them."""
