"""What a network may be trained for, as it stands in a run's `model.json`."""

CLASSIFICATION = "classification"
CAPTIONING = "captioning"
MULTILABEL = "multi-label classification"
CLASSIFIERS = (CLASSIFICATION, MULTILABEL)
SEVERAL_LABELS = "multi_label_classification"
"""What transformers calls the problem of the second, in a configuration."""
