"""Plan groups in, plain SQL out: the text that is looked at is the text that is run."""
