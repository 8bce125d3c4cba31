"""The judge's command lines: the verb `eval`, and the training of the AU models."""
