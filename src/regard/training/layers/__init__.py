"""What is done to layers while a network trains: adapters beside them (LoRA), blocks computed twice to save memory."""
