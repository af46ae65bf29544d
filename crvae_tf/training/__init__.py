"""Training: compile, fit, checkpoint, resume, and the devices it runs on."""
