"""Workers that replay several recordings at once."""
