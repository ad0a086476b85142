"""A report that passes its gates becomes a registered model. The only owner of MLflow."""
