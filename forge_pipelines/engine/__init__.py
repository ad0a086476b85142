"""Where batches run: today in processes of this machine; a cluster's engine would fill the same interface."""
